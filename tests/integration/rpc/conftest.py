"""Small modules on the running server, and short names for what most tests do with them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import struct_pb2

from hibana.v1 import executor_pb2, module_pb2, module_registry_pb2
from hibana_server.domain.callers import Role
from tests.framework.server import Server
from tests.framework.stubs import Stubs, connect
from tests.framework.wasm import wat

GUESTS = Path(__file__).parents[2] / "guests"


@functools.cache
def guest(name: str) -> bytes:
    """Return the bytes of a guest by the name of its file."""
    return wat((GUESTS / f"{name}.wat").read_text("utf-8"))


def header(name: str, version: str = "1.0.0", **fields: Any) -> module_registry_pb2.UploadHeader:
    """Make the header of an upload."""
    return module_registry_pb2.UploadHeader(module_name=name, version=version, **fields)


async def create(
    stubs: Stubs, name: str, wasm: bytes, version: str = "1.0.0", **fields: Any
) -> module_registry_pb2.CreateModuleResponse:
    """Store a version in one message."""
    request = module_registry_pb2.CreateModuleRequest(header=header(name, version, **fields), wasm=wasm)
    return await stubs.registry.CreateModule(request)


def messages(
    first: module_registry_pb2.UploadHeader | None, *chunks: bytes
) -> Iterator[module_registry_pb2.UploadModuleRequest]:
    """Yield the messages of an upload stream."""
    if first is not None:
        yield module_registry_pb2.UploadModuleRequest(header=first)
    for chunk in chunks:
        yield module_registry_pb2.UploadModuleRequest(chunk=chunk)


async def upload(
    stubs: Stubs, first: module_registry_pb2.UploadHeader | None, *chunks: bytes
) -> module_registry_pb2.UploadModuleResponse:
    """Store a version by stream."""
    return await stubs.registry.UploadModule(messages(first, *chunks))


def json_list(*values: Any) -> struct_pb2.ListValue:
    """Make JSON arguments."""
    packed = struct_pb2.ListValue()
    packed.extend(values)
    return packed


async def invoke(
    stubs: Stubs, module: str, function: str = "", *values: Any, **fields: Any
) -> executor_pb2.InvokeResponse:
    """Run a function with JSON arguments."""
    if values:
        fields["json_arguments"] = json_list(*values)
    return await stubs.executor.Invoke(executor_pb2.InvokeRequest(module=module, function=function, **fields))


def sha256(data: bytes) -> str:
    """Return the digest as the contract spells it."""
    return hashlib.sha256(data).hexdigest()


PUBLIC = module_pb2.ModuleSpec(is_public=True)


@pytest.fixture(scope="session")
async def numbers(server: Server) -> str:
    """Give a public module of numeric functions, as everyone refers to it."""
    stubs = server.stubs("numbers-owner")
    await create(stubs, "numbers", guest("client_numbers"), module=PUBLIC)
    await stubs.close()
    return "user/numbers-owner/numbers"


@pytest.fixture(scope="session")
async def programs(server: Server) -> str:
    """Give the owner of the public WASI programs `cat`, `exit` and `endless`, as a prefix of references."""
    stubs = server.stubs("programs-owner")
    for name in ("cat", "exit", "endless"):
        await create(stubs, name, guest(f"client_{name}"), module=PUBLIC)
    await stubs.close()
    return "user/programs-owner"


@pytest.fixture(scope="session")
async def system_module(server: Server) -> str:
    """Give a system module."""
    stubs = server.stubs("root", Role.ADMIN)
    await create(stubs, "sums", guest("client_numbers"), tier=module_pb2.TIER_SYSTEM)
    await stubs.close()
    return "system/sums"


@pytest.fixture
async def use(server: Server) -> AsyncIterator[Callable[[str], Stubs]]:
    """Open channels that send a key, or whatever text."""
    opened: list[Stubs] = []

    def make(secret: str) -> Stubs:
        opened.append(connect(server.address, secret))
        return opened[-1]

    yield make
    for stubs in opened:
        await stubs.close()
