;; Asks for memory.
(module
  (memory (export "storage") 1)
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "exhaust")
    (block $full
      (loop $more
        (br_if $full (i32.eq (memory.grow (i32.const 1)) (i32.const -1)))
        (i32.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4)) (i32.const 7))
        (br $more)))
    unreachable)
  (func (export "grow_too_far")
    (drop (memory.grow (i32.const 100)))
    (if (i32.eq (memory.grow (i32.const 100)) (i32.const -1)) (then unreachable)))
  (func (export "exhaust_and_go_on") (result i32)
    (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
    memory.size))
