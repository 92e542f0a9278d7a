;; Imports a host function that no user module gets.
(module
  (import "env" "fetch" (func $fetch (param i32 i32) (result i32)))
  (func (export "go") (result i32) (call $fetch (i32.const 0) (i32.const 0))))
