"""Text by every convention, through the service and through the raw engine in this process, in one run.

The guests are echoes of tests/guests. Raw is what a program of one's own would do: a fresh store and instance, room
asked of the guest, one copy in and one out, text encoded and decoded. The service adds a unary call in the typed
form, a sandbox process, checks of all that came out, and the record.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import wasmtime
from wasmtime import component

from hibana.v1 import executor_pb2, executor_pb2_grpc, module_registry_pb2, module_registry_pb2_grpc, value_pb2
from hibana_server.sandbox.worker.engine import compile_config, component_engine
from tests.framework.server import Server

GUESTS = Path(__file__).parents[1] / "guests"
ROUNDS = {1_000: 100, 100_000: 40, 3_000_000: 9}
"""Bytes of text, and calls that are timed."""
NAMES = {1_000: "1 KB", 100_000: "100 KB", 3_000_000: "3 MB"}
TYPES = "echo: func(text: string) -> string"
CONVENTIONS = {
    "packed": "convention_packed",
    "c strings": "convention_c",
    "bindgen old": "convention_bindgen_old",
    "bindgen new": "convention_bindgen_new",
    "assemblyscript": "convention_assemblyscript",
}


class Raw:
    """A fresh instance in this process."""

    def __init__(self, engine: wasmtime.Engine, module: wasmtime.Module, linker: wasmtime.Linker) -> None:
        self._store = wasmtime.Store(engine)
        self._store.set_epoch_deadline(1)
        self._exports = linker.instantiate(self._store, module).exports(self._store)
        memory = self._exports["memory"]
        assert isinstance(memory, wasmtime.Memory)
        self._memory = memory

    def call(self, name: str, *values: int) -> Any:
        function = self._exports[name]
        assert isinstance(function, wasmtime.Func)
        return function(self._store, *values)

    def write(self, at: int, data: bytes) -> int:
        self._memory.write(self._store, data, at)
        return at

    def read(self, at: int, size: int) -> bytes:
        return bytes(self._memory.read(self._store, at, at + size))


def _packed(raw: Raw, text: str) -> str:
    data = text.encode()
    both = raw.call("echo", raw.write(raw.call("alloc", len(data)), data), len(data))
    return raw.read(both >> 32, both & 0xFFFFFFFF).decode()


def _c_string(raw: Raw, text: str) -> str:
    data = text.encode()
    at = raw.call("echo", raw.write(raw.call("malloc", len(data) + 1), data + b"\0"))
    return raw.read(at, len(data)).decode()


def _bindgen_old(raw: Raw, text: str) -> str:
    data = text.encode()
    area = raw.call("__wbindgen_add_to_stack_pointer", -16)
    raw.call("echo", area, raw.write(raw.call("__wbindgen_malloc", len(data), 1), data), len(data))
    words = raw.read(area, 8)
    return raw.read(int.from_bytes(words[:4], "little"), int.from_bytes(words[4:], "little")).decode()


def _bindgen_new(raw: Raw, text: str) -> str:
    data = text.encode()
    at, size = raw.call("echo", raw.write(raw.call("__wbindgen_malloc", len(data), 1), data), len(data))
    return raw.read(at, size).decode()


def _assemblyscript(raw: Raw, text: str) -> str:
    data = text.encode("utf-16-le")
    at = raw.call("echo", raw.call("__pin", raw.write(raw.call("__new", len(data), 2), data)))
    return raw.read(at, int.from_bytes(raw.read(at - 4, 4), "little")).decode("utf-16-le")


class RawComponent:
    """A fresh instance of a component in this process, called as the binding's documentation shows it."""

    def __init__(self, engine: wasmtime.Engine, made: component.Component) -> None:
        self._store = wasmtime.Store(engine)
        self._store.set_epoch_deadline(1)
        self._instance = component.Linker(engine).instantiate(self._store, made)

    def text(self, text: str) -> str:
        function = self._instance.get_func(self._store, "text")
        assert function is not None
        returned: str = function(self._store, text)
        return returned


BY_HAND: dict[str, Callable[[Raw, str], str]] = {
    "packed": _packed,
    "c strings": _c_string,
    "bindgen old": _bindgen_old,
    "bindgen new": _bindgen_new,
    "assemblyscript": _assemblyscript,
}


def timed_us(echo: Callable[[str], str], size: int) -> float:
    """Return the median microseconds of an echo of so many bytes."""
    text = "x" * size
    taken = []
    for _ in range(ROUNDS[size]):
        begin = time.perf_counter()
        told = echo(text)
        taken.append(time.perf_counter() - begin)
        assert told == text
    return statistics.median(taken) * 1e6


def measure(server: Server) -> dict[str, float]:
    """Measure each convention at each size, raw and through the service, in turn."""
    figures: dict[str, float] = {}
    engine = wasmtime.Engine(compile_config())
    metadata = (("authorization", f"Bearer {server.token('bench')}"),)
    with grpc.insecure_channel(server.address) as channel:
        registry = module_registry_pb2_grpc.ModuleRegistryStub(channel)
        executor = executor_pb2_grpc.ExecutorStub(channel)

        def through(reference: str, text: str) -> str:
            values = value_pb2.ListOfValues(values=[value_pb2.Value(string_value=text)])
            request = executor_pb2.InvokeRequest(module=reference, function="echo", typed_arguments=values)
            return executor.Invoke(request, metadata=metadata).result.typed.values[0].string_value

        for name, guest in CONVENTIONS.items():
            wasm = bytes(wasmtime.wat2wasm((GUESTS / f"{guest}.wat").read_text("utf-8")))
            reference = guest.replace("_", "-")
            header = module_registry_pb2.UploadHeader(module_name=reference, version="1", signatures=TYPES)
            registry.CreateModule(module_registry_pb2.CreateModuleRequest(header=header, wasm=wasm), metadata=metadata)
            module = wasmtime.Module(engine, wasm)
            linker = wasmtime.Linker(engine)
            linker.define_unknown_imports_as_traps(module)
            by_hand = BY_HAND[name]
            for size in ROUNDS:
                alone = timed_us(lambda text: by_hand(Raw(engine, module, linker), text), size)  # noqa: B023 - used here
                ours = timed_us(functools.partial(through, f"user/{reference}"), size)
                figures[f"echo {name} {NAMES[size]} raw us"] = alone
                figures[f"echo {name} {NAMES[size]} us"] = ours
                figures[f"echo {name} {NAMES[size]} factor"] = ours / alone
        wasm = bytes(wasmtime.wat2wasm((GUESTS / "component_echo.wat").read_text("utf-8")))
        header = module_registry_pb2.UploadHeader(module_name="component", version="1")
        registry.CreateModule(module_registry_pb2.CreateModuleRequest(header=header, wasm=wasm), metadata=metadata)
        components = component_engine()
        made = component.Component(components, wasm)

        def called(function: str, text: str) -> str:
            value = value_pb2.Value(string_value=text)
            if function == "bytes":
                value = value_pb2.Value(bytes_value=text.encode())
            values = value_pb2.ListOfValues(values=[value])
            request = executor_pb2.InvokeRequest(module="user/component", function=function, typed_arguments=values)
            (told,) = executor.Invoke(request, metadata=metadata).result.typed.values
            return told.bytes_value.decode() if function == "bytes" else told.string_value

        for size in ROUNDS:
            alone = timed_us(lambda text: RawComponent(components, made).text(text), size)
            figures[f"echo component {NAMES[size]} raw us"] = alone
            for function in ("text", "bytes"):
                ours = timed_us(functools.partial(called, function), size)
                figures[f"echo component {function} {NAMES[size]} us"] = ours
                figures[f"echo component {function} {NAMES[size]} factor"] = ours / alone
    return figures
