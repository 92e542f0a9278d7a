;; Functions that read and write files of a session.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (memory (export "memory") 8)
  (data (i32.const 100) "out/notes")
  (data (i32.const 120) "in")

  ;; A vector of so many bytes at 1024.
  (func $vector (param $size i32)
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (local.get $size)))

  ;; Append so many times the same byte to the notes; returns the code of the first function that refused.
  (func (export "note") (param $byte i32) (param $times i32) (result i32) (local $code i32)
    (memory.fill (i32.const 1024) (local.get $byte) (local.get $times))
    (local.set $code (call $open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 9) (i32.const 1)
      (i64.const 64) (i64.const 0) (i32.const 1) (i32.const 16)))
    (if (local.get $code) (then (return (local.get $code))))
    (call $vector (local.get $times))
    (local.set $code (call $write (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))
    (drop (call $close (i32.load (i32.const 16))))
    (local.get $code))

  ;; The first byte of the file that was given, or minus the code.
  (func (export "given") (result i32) (local $code i32)
    (local.set $code (call $open (i32.const 3) (i32.const 0) (i32.const 120) (i32.const 2) (i32.const 0)
      (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)))
    (if (local.get $code) (then (return (i32.sub (i32.const 0) (local.get $code)))))
    (call $vector (i32.const 1))
    (drop (call $read (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))
    (drop (call $close (i32.load (i32.const 16))))
    (i32.load8_u (i32.const 1024)))

  ;; The next byte of stdin, or -1 at its end.
  (func (export "typed") (result i32)
    (call $vector (i32.const 1))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (if (result i32) (i32.load (i32.const 8)) (then (i32.load8_u (i32.const 1024))) (else (i32.const -1))))

  (func (export "fail") unreachable)
  (func (export "spin") (loop $more (br $more))))
