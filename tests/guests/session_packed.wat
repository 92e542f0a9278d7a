;; Packed bytes with an allocator that counts: alloc and dealloc keep what is held.
(module
  (memory (export "memory") 4)
  (global $held (mut i32) (i32.const 0))
  (global $next (mut i32) (i32.const 1024))
  (func $alloc (export "alloc") (param $size i32) (result i32)
    (global.set $held (i32.add (global.get $held) (i32.const 1)))
    (global.set $next (i32.add (global.get $next) (i32.and (i32.add (local.get $size) (i32.const 7)) (i32.const -8))))
    (i32.sub (global.get $next) (i32.and (i32.add (local.get $size) (i32.const 7)) (i32.const -8))))
  (func (export "dealloc") (param i32 i32)
    (global.set $held (i32.sub (global.get $held) (i32.const 1))))
  (func (export "held") (result i32) (global.get $held))
  ;; Returns what it was given; that is the caller's again.
  (func (export "echo") (param $at i32) (param $size i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32)) (i64.extend_i32_u (local.get $size)))))
