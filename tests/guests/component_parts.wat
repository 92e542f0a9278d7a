;; A component of two parts with a memory each: what one passes to the other is copied by an adapter of the engine.
(component
  (component $inner
    (core module $code
      (memory (export "memory") 1)
      (global $next (mut i32) (i32.const 64))
      (func (export "realloc") (param i32 i32 i32 i32) (result i32)
        (local $at i32)
        (local.set $at (global.get $next))
        (global.set $next (i32.add (local.get $at) (local.get 3)))
        (local.get $at))
      (func (export "echo") (param i32 i32) (result i32)
        (i32.store (i32.const 16) (local.get 0))
        (i32.store (i32.const 20) (local.get 1))
        (i32.const 16)))
    (core instance $code (instantiate $code))
    (func (export "echo") (param "text" string) (result string)
      (canon lift (core func $code "echo") (memory (core memory $code "memory")) (realloc (core func $code "realloc")))))
  (component $outer
    (import "echo" (func $echo (param "text" string) (result string)))
    (core module $room
      (memory (export "memory") 1)
      (global $next (mut i32) (i32.const 64))
      (func (export "realloc") (param i32 i32 i32 i32) (result i32)
        (local $at i32)
        (local.set $at (global.get $next))
        (global.set $next (i32.add (local.get $at) (local.get 3)))
        (local.get $at)))
    (core instance $room (instantiate $room))
    (core func $lowered
      (canon lower (func $echo) (memory (core memory $room "memory")) (realloc (core func $room "realloc"))))
    (core module $code
      (import "inner" "echo" (func $echo (param i32 i32 i32)))
      (func (export "echo") (param i32 i32) (result i32)
        (call $echo (local.get 0) (local.get 1) (i32.const 16))
        (i32.const 16)))
    (core instance $code (instantiate $code (with "inner" (instance (export "echo" (func $lowered))))))
    (func (export "echo") (param "text" string) (result string)
      (canon lift (core func $code "echo") (memory (core memory $room "memory")) (realloc (core func $room "realloc")))))
  (instance $inside (instantiate $inner))
  (instance $outside (instantiate $outer (with "echo" (func $inside "echo"))))
  (export "echo" (func $outside "echo")))
