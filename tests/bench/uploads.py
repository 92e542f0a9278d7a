"""Modules and uploads for the measurements."""

from __future__ import annotations

import grpc

from hibana.v1 import module_pb2, module_registry_pb2, module_registry_pb2_grpc
from tests.framework.server import Server

TINY = """
(module (memory (export "memory") 1)
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))
"""
LOOP = '(module (func (export "run") (loop br 0)))'


def large(megabytes: float) -> str:
    """Return the text of a module of about so many megabytes of code that is honest work to compile."""
    body = "(local.set 1 (i32.add (i32.mul (local.get 0) (i32.const 77777)) (i32.xor (local.get 1) (i32.const 99999))))"
    function = f"(func (param i32) (result i32) (local i32) {body * 60} (local.get 1))\n"
    return f'(module {function * int(megabytes * 1300)} (func (export "run") (result i32) (i32.const 7)))'


def upload(server: Server, name: str, wasm: bytes, spec: module_pb2.ModuleSpec | None = None) -> float:
    """Store a module for the caller `bench` and return the seconds its compile took."""
    with grpc.insecure_channel(server.address) as channel:
        stub = module_registry_pb2_grpc.ModuleRegistryStub(channel)
        header = module_registry_pb2.UploadHeader(module_name=name, version="1", module=spec)
        request = module_registry_pb2.CreateModuleRequest(header=header, wasm=wasm)
        answer = stub.CreateModule(request, metadata=(("authorization", f"Bearer {server.token('bench')}"),))
        return answer.compile_time.ToNanoseconds() / 1e9
