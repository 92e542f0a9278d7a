"""Uploads for the measurements."""

from __future__ import annotations

import grpc

from hibana.v1 import module_registry_pb2, module_registry_pb2_grpc
from tests.framework.server import Server


def upload(server: Server, name: str, wasm: bytes) -> float:
    """Store a module for the caller `bench` and return the seconds its compile took."""
    with grpc.insecure_channel(server.address) as channel:
        stub = module_registry_pb2_grpc.ModuleRegistryStub(channel)
        request = module_registry_pb2.CreateModuleRequest(
            header=module_registry_pb2.UploadHeader(module_name=name, version="1"), wasm=wasm
        )
        answer = stub.CreateModule(request, metadata=(("authorization", f"Bearer {server.token('bench')}"),))
        return answer.compile_time.ToNanoseconds() / 1e9
