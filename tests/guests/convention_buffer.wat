;; A buffer of 64 bytes at 1024, and what may be wrong with one.
(module
  (memory (export "memory") 1)
  (global $at (mut i32) (i32.const 1024))
  (global $sum (mut i32) (i32.const 0))
  (func (export "where") (result i32) (global.get $at))
  (func (export "nowhere") (result i32) (i32.const 0))
  (func (export "outside") (result i32) (i32.const -1))
  ;; 60 bytes before the end of the memory.
  (func (export "edge") (result i32) (i32.const 65476))
  (func (export "traps") (result i32) (unreachable))
  (func (export "wide") (result i64) (i64.const 1024))

  ;; Turns the bytes around where they are, and returns how many there are.
  (func (export "reverse") (param $size i32) (result i32)
    (local $low i32) (local $high i32) (local $kept i32)
    (local.set $low (global.get $at))
    (local.set $high (i32.sub (i32.add (global.get $at) (local.get $size)) (i32.const 1)))
    (block $done
      (loop $more
        (br_if $done (i32.ge_s (local.get $low) (local.get $high)))
        (local.set $kept (i32.load8_u (local.get $low)))
        (i32.store8 (local.get $low) (i32.load8_u (local.get $high)))
        (i32.store8 (local.get $high) (local.get $kept))
        (local.set $low (i32.add (local.get $low) (i32.const 1)))
        (local.set $high (i32.sub (local.get $high) (i32.const 1)))
        (br $more)))
    (local.get $size))
  ;; Adds the bytes to a sum that stays, times a factor.
  (func (export "add") (param $size i32) (param $factor i32)
    (loop $more
      (if (local.get $size)
        (then
          (local.set $size (i32.sub (local.get $size) (i32.const 1)))
          (global.set $sum (i32.add (global.get $sum) (i32.mul (local.get $factor)
            (i32.load8_u (i32.add (global.get $at) (local.get $size))))))
          (br $more)))))
  ;; Puts the sum into the buffer, at another place than before.
  (func (export "sum")
    (global.set $at (i32.add (global.get $at) (i32.const 64)))
    (i32.store (global.get $at) (global.get $sum)))
  (func (export "nothing") (param i32))
  (func (export "says") (param $size i32) (result i32) (local.get $size))
  (func (export "invalid") (result i32)
    (i32.store8 (global.get $at) (i32.const 0xff))
    (i32.const 1))
  (func (export "two") (param i32 i32)))
