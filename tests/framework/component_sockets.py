"""A component that asks for a socket, by the interface of any version."""

from __future__ import annotations

from tests.framework.wasm import wat

CODES = [
    "unknown",
    "access-denied",
    "not-supported",
    "invalid-argument",
    "out-of-memory",
    "timeout",
    "concurrency-conflict",
    "not-in-progress",
    "would-block",
    "invalid-state",
    "new-socket-limit",
    "address-not-bindable",
    "address-in-use",
    "remote-unreachable",
    "connection-refused",
    "connection-reset",
    "connection-aborted",
    "datagram-too-large",
    "name-unresolvable",
    "temporary-resolver-failure",
    "permanent-resolver-failure",
]
"""Codes of errors of wasi:sockets."""


def asking(kind: str, version: str) -> bytes:
    """Return a component whose `ask` returns 1 and the error's place in CODES: `kind` is tcp or udp."""
    codes = " ".join(f'"{code}"' for code in CODES)
    return wat(f"""(component
  (import "wasi:sockets/network@{version}" (instance $network
    (type $code (enum {codes})) (export "error-code" (type (eq $code)))
    (type $family (enum "ipv4" "ipv6")) (export "ip-address-family" (type (eq $family)))))
  (alias export $network "error-code" (type $code))
  (alias export $network "ip-address-family" (type $family))
  (import "wasi:sockets/{kind}@{version}" (instance $sockets (export "{kind}-socket" (type (sub resource)))))
  (alias export $sockets "{kind}-socket" (type $socket))
  (import "wasi:sockets/{kind}-create-socket@{version}" (instance $create
    (alias outer 1 $code (type $c)) (export "error-code" (type $code (eq $c)))
    (alias outer 1 $family (type $f)) (export "ip-address-family" (type $family (eq $f)))
    (alias outer 1 $socket (type $s)) (export "{kind}-socket" (type $socket (eq $s)))
    (export "create-{kind}-socket"
      (func (param "address-family" $family) (result (result (own $socket) (error $code)))))))
  (core module $libc (memory (export "memory") 1))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (core func $create (canon lower (func $create "create-{kind}-socket") (memory $memory)))
  (core module $m
    (import "h" "create" (func $create (param i32 i32)))
    (import "h" "memory" (memory 1))
    (func (export "ask") (result i32)
      (call $create (i32.const 0) (i32.const 16))
      (i32.store (i32.const 32) (i32.load8_u (i32.const 16)))
      (i32.store (i32.const 36) (i32.load8_u (i32.const 20)))
      (i32.const 32)))
  (core instance $i (instantiate $m (with "h" (instance
    (export "create" (func $create)) (export "memory" (memory $memory))))))
  (func (export "ask") (result (tuple u32 u32))
    (canon lift (core func $i "ask") (memory $memory))))""")
