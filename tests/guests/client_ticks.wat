;; Writes numbered lines to stdout, each of `size` bytes: eight digits, dots, a line feed; sleeps `pause` nanoseconds
;; after each. Returns how many it wrote.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 8)
  (func (export "ticks") (param $count i32) (param $size i32) (param $pause i64) (result i32)
    (local $n i32) (local $rest i32) (local $at i32)
    (memory.fill (i32.const 4096) (i32.const 46) (local.get $size))
    (i32.store8 (i32.add (i32.const 4095) (local.get $size)) (i32.const 10))
    (i32.store (i32.const 0) (i32.const 4096))
    (i32.store (i32.const 4) (local.get $size))
    ;; A subscription to the monotonic clock.
    (i32.store (i32.const 1040) (i32.const 1))
    (i64.store (i32.const 1048) (local.get $pause))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $n) (local.get $count)))
        (local.set $rest (local.get $n))
        (local.set $at (i32.const 4103))
        (loop $digit
          (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $rest) (i32.const 10))))
          (local.set $rest (i32.div_u (local.get $rest) (i32.const 10)))
          (local.set $at (i32.sub (local.get $at) (i32.const 1)))
          (br_if $digit (i32.ge_u (local.get $at) (i32.const 4096))))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (if (i64.ne (local.get $pause) (i64.const 0))
          (then (drop (call $poll (i32.const 1024) (i32.const 2048) (i32.const 1) (i32.const 3000)))))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br $next)))
    (local.get $n)))
