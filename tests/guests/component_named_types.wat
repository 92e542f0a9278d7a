;; A component that imports an interface for the names of its types alone, as a world with `use` does.
(component
  (import "examples:shapes/types@1.0.0" (instance $types
    (type $size (enum "small" "large"))
    (export "size" (type (eq $size)))))
  (alias export $types "size" (type $size))
  (core module $code (func (export "turn") (param i32) (result i32) (i32.xor (local.get 0) (i32.const 1))))
  (core instance $code (instantiate $code))
  (func (export "turn") (param "size" $size) (result $size) (canon lift (core func $code "turn"))))
