;; Numeric functions of each core type, and one of each common way to fail.
(module
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (func (export "add64") (param i64 i64) (result i64) (i64.add (local.get 0) (local.get 1)))
  (func (export "half") (param f64) (result f64) (f64.mul (local.get 0) (f64.const 0.5)))
  (func (export "single") (param f32) (result f32) (local.get 0))
  (func (export "several") (result i32 i64 f64) (i32.const -1) (i64.const 9007199254740993) (f64.const 2))
  (func (export "nothing"))
  (func (export "fail") unreachable)
  (func (export "spin") (loop (br 0)))
  (func (export "divide") (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1))))
