;; Packed bytes: what is passed comes back, from other places of the memory, well formed or not.
(module
  (memory (export "memory") 2 800)
  (global $next (mut i32) (i32.const 1024))

  (func $alloc (export "alloc") (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $next))
    (global.set $next (i32.add (i32.add (global.get $next) (local.get $size)) (i32.const 8)))
    (loop $more
      (if (i32.gt_u (global.get $next) (i32.mul (memory.size) (i32.const 65536)))
        (then
          (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (return (i32.const 0))))
          (br $more))))
    (local.get $at))
  (func (export "dealloc") (param i32 i32))

  (func $packed (param $at i32) (param $size i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32)) (i64.extend_i32_u (local.get $size))))

  (func (export "echo") (param $at i32) (param $size i32) (result i64)
    (local $copy i32)
    (if (i32.eqz (local.get $at)) (then (return (i64.const 0))))
    (local.set $copy (call $alloc (local.get $size)))
    (memory.copy (local.get $copy) (local.get $at) (local.get $size))
    (call $packed (local.get $copy) (local.get $size)))

  (func (export "join") (param $a i32) (param $m i32) (param $b i32) (param $n i32) (result i64)
    (local $copy i32)
    (local.set $copy (call $alloc (i32.add (local.get $m) (local.get $n))))
    (memory.copy (local.get $copy) (local.get $a) (local.get $m))
    (memory.copy (i32.add (local.get $copy) (local.get $m)) (local.get $b) (local.get $n))
    (call $packed (local.get $copy) (i32.add (local.get $m) (local.get $n))))

  (func (export "size") (param $at i32) (param $size i32) (result i32) (local.get $size))
  (func (export "nothing") (param i32 i32))
  (func (export "raw") (param $at i32) (param $size i32) (result i64)
    (call $packed (local.get $at) (local.get $size)))
  (func (export "number") (param $value i32) (result i32) (local.get $value))
  (func (export "wide") (param $value i64) (result i64) (local.get $value))

  (func (export "exit") (result i64) (unreachable))
  (func (export "invalid") (result i64)
    (i32.store8 (i32.const 16) (i32.const 0x61))
    (i32.store8 (i32.const 17) (i32.const 0xff))
    (call $packed (i32.const 16) (i32.const 2))))
