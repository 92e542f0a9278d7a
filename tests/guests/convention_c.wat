;; C strings: pointers to text that ends with a zero byte, or does not.
(module
  (memory (export "memory") 2 800)
  (global $next (mut i32) (i32.const 1024))

  (func $malloc (export "malloc") (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $next))
    (global.set $next (i32.add (i32.add (global.get $next) (local.get $size)) (i32.const 8)))
    (loop $more
      (if (i32.gt_u (global.get $next) (i32.mul (memory.size) (i32.const 65536)))
        (then
          (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (return (i32.const 0))))
          (br $more))))
    (local.get $at))
  (func (export "free") (param i32))

  (func (export "echo") (param $text i32) (result i32)
    (local $size i32) (local $copy i32)
    (if (i32.eqz (local.get $text)) (then (return (i32.const 0))))
    (loop $count
      (if (i32.load8_u (i32.add (local.get $text) (local.get $size)))
        (then (local.set $size (i32.add (local.get $size) (i32.const 1))) (br $count))))
    (local.set $size (i32.add (local.get $size) (i32.const 1)))
    (local.set $copy (call $malloc (local.get $size)))
    (memory.copy (local.get $copy) (local.get $text) (local.get $size))
    (local.get $copy))
  (func (export "sum") (param $at i32) (param $size i32) (result i32)
    (local $sum i32) (local $end i32)
    (local.set $end (i32.add (local.get $at) (local.get $size)))
    (block $done
      (loop $each
        (br_if $done (i32.eq (local.get $at) (local.get $end)))
        (local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $each)))
    (local.get $sum))
  (func (export "raw") (param $at i32) (result i32) (local.get $at))
  (func (export "endless") (result i32)
    (local $at i32)
    (memory.fill (i32.const 1024) (i32.const 0x61) (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 1024)))
    (i32.const 1024)))
