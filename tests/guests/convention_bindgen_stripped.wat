;; What wasm-bindgen makes of a library whose names were stripped before it read it: it numbers its own functions.
(module
  (memory (export "memory") 3 800)
  (global $stack (mut i32) (i32.const 65536))
  (global $next (mut i32) (i32.const 131072))

  (func (export "__wbindgen_add_to_stack_pointer") (param $by i32) (result i32)
    (global.set $stack (i32.add (global.get $stack) (local.get $by)))
    (global.get $stack))
  (func (export "__wbindgen_export_0") (param $size i32) (param $align i32) (result i32)
    (local $at i32)
    (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (local.set $at (global.get $next))
    (global.set $next (i32.add (global.get $next) (local.get $size)))
    (loop $more
      (if (i32.gt_u (global.get $next) (i32.mul (memory.size) (i32.const 65536)))
        (then
          (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (return (i32.const 0))))
          (br $more))))
    (local.get $at))
  (func (export "__wbindgen_export_1") (param i32 i32 i32 i32) (result i32) (unreachable))
  (func (export "__wbindgen_export_2") (param i32 i32 i32))

  (func (export "echo") (param $area i32) (param $at i32) (param $size i32)
    (i32.store (local.get $area) (local.get $at))
    (i32.store offset=4 (local.get $area) (local.get $size))))
