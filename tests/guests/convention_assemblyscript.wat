;; The memory of AssemblyScript without its compiler: headers before objects, and a table of classes.
(module
  (memory (export "memory") 3 800)
  (global (export "__rtti_base") i32 (i32.const 16))
  ;; Five classes: object, buffer, string, Uint8Array (a view, 1 byte), Array<f64> (an array, 8 bytes, float).
  (data (i32.const 16) "\05\00\00\00" "\00\00\00\00" "\00\00\00\00" "\00\00\00\00" "\41\00\00\00" "\02\1a\00\00")
  (global $next (mut i32) (i32.const 65536))
  (global $pinned (mut i32) (i32.const 0))

  (func $new (export "__new") (param $size i32) (param $class i32) (result i32)
    (local $at i32)
    (local.set $at (i32.add (global.get $next) (i32.const 16)))
    (global.set $next
      (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 15)) (i32.const -16)))
    (loop $more
      (if (i32.gt_u (global.get $next) (i32.mul (memory.size) (i32.const 65536)))
        (then
          (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (unreachable)))
          (br $more))))
    (i32.store (i32.sub (local.get $at) (i32.const 8)) (local.get $class))
    (i32.store (i32.sub (local.get $at) (i32.const 4)) (local.get $size))
    (local.get $at))
  (func (export "__pin") (param i32) (result i32)
    (global.set $pinned (i32.add (global.get $pinned) (i32.const 1)))
    (local.get 0))

  (func (export "echo") (param i32) (result i32) (local.get 0))
  (func (export "second") (param i32 i32) (result i32) (local.get 1))
  (func (export "pinned") (param i32 i32) (result i32) (global.get $pinned))
  (func (export "raw") (param i32) (result i32) (local.get 0))
  (func (export "object") (param $class i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (call $new (i32.const 64) (local.get $class)))
    (i32.store (i32.sub (local.get $at) (i32.const 4)) (local.get $size))
    (i32.store offset=4 (local.get $at) (i32.const -4))
    (i32.store offset=8 (local.get $at) (local.get $size))
    (i32.store offset=12 (local.get $at) (local.get $size))
    (local.get $at))
  (func (export "surrogate") (result i32)
    (local $at i32)
    (local.set $at (call $new (i32.const 2) (i32.const 2)))
    (i32.store16 (local.get $at) (i32.const 0xd800))
    (local.get $at)))
