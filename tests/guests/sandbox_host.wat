;; Calls the host functions, with good pointers and with bad ones.
(module
  (import "env" "abort" (func $abort (param i32 i32 i32 i32)))
  (import "env" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 1020) "\0c\00\00\00b\00r\00o\00k\00e\00n\00")
  (data (i32.const 2048) "h\c3\a4llo")
  (data (i32.const 2100) "bad \ff\fe bytes")
  (func (export "abort") (call $abort (i32.const 1024) (i32.const 0) (i32.const 7) (i32.const 9)))
  (func (export "abort_badly") (param i32) (call $abort (local.get 0) (i32.const -1) (i32.const 7) (i32.const 9)))
  (func (export "log") (param $level i32) (call $log (local.get $level) (i32.const 2048) (i32.const 6)))
  (func (export "log_bad_text") (call $log (i32.const 2) (i32.const 2100) (i32.const 12)))
  (func (export "log_range") (param i32 i32) (call $log (i32.const 2) (local.get 0) (local.get 1)))
  (func (export "log_forever") (loop (call $log (i32.const 2) (i32.const 2048) (i32.const 6)) (br 0))))
