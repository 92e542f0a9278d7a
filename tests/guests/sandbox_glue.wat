;; Imports what only JavaScript and AssemblyScript's loader provide.
(module
  (import "wbg" "__wbg_now_0123" (func $now (result f64)))
  (import "./x_bg.js" "__wbindgen_throw" (func $throw (param i32 i32)))
  (import "env" "seed" (func $seed (result f64)))
  (import "env" "trace" (func $trace (param i32 i32 f64 f64 f64 f64 f64)))
  (func (export "now") (result f64) (call $now))
  (func (export "seed") (result f64) (call $seed))
  (func (export "trace")
    (call $trace (i32.const -1) (i32.const 5) (f64.const 0) (f64.const 0) (f64.const 0) (f64.const 0) (f64.const 0))))
