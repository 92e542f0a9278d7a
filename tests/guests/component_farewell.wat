;; A resource whose destructor says on stdout which object it was.
(component
  (import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
  (alias export $error "error" (type $error))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (export "output-stream" (type $output (sub resource)))
    (alias outer 1 $error (type $e)) (export "error" (type $failed (eq $e)))
    (type $variant (variant (case "last-operation-failed" (own $failed)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $variant)))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $output)) (param "contents" (list u8)) (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $output))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $output (type $o)) (export "output-stream" (type $output (eq $o)))
    (export "get-stdout" (func (result (own $output))))))
  (core module $libc (memory (export "memory") 1))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (core func $stdout (canon lower (func $stdout "get-stdout")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush") (memory $memory)))
  (core module $code
    (import "c" "memory" (memory 1))
    (import "c" "stdout" (func $stdout (result i32)))
    (import "c" "write" (func $write (param i32 i32 i32 i32)))
    (func (export "dtor") (param $letter i32)
      (i32.store (i32.const 0) (local.get $letter))
      (call $write (call $stdout) (i32.const 0) (i32.const 1) (i32.const 16))))
  (core instance $code (instantiate $code (with "c" (instance
    (export "memory" (memory $memory)) (export "stdout" (func $stdout)) (export "write" (func $write))))))
  (type $guest' (resource (rep i32) (dtor (core func $code "dtor"))))
  (export $guest "guest" (type $guest'))
  (core func $new (canon resource.new $guest'))
  (func (export "[constructor]guest") (param "letter" char) (result (own $guest)) (canon lift (core func $new))))
