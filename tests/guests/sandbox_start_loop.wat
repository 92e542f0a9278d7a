;; Never gets as far as its function: the start function loops.
(module
  (func $start (loop br 0))
  (start $start)
  (func (export "run")))
