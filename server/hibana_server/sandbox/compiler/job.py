"""One compile job: read, inspect, compile, write."""

from __future__ import annotations

import hashlib
import os

import wasmtime
from wasmtime import component

from hibana_server.domain.modules import Finding, ModuleFacts, Severity
from hibana_server.sandbox.compile_frames import (
    MAX_SIGNATURES_BYTES,
    Accepted,
    CompileAnswer,
    CompileRequest,
    Refused,
)
from hibana_server.sandbox.compiler.component_facts import describe_component
from hibana_server.sandbox.compiler.engine_errors import refusal
from hibana_server.sandbox.engine_settings import COMPONENT, profile_of
from hibana_server.sandbox.gate.component import read_component
from hibana_server.sandbox.gate.component_bytes import with_bytes
from hibana_server.sandbox.gate.component_parts import read_parts
from hibana_server.sandbox.gate.errors import FeatureUsed, LimitPassed
from hibana_server.sandbox.gate.errors import Refused as GateRefused
from hibana_server.sandbox.gate.header import is_component
from hibana_server.sandbox.gate.import_names import import_names
from hibana_server.sandbox.gate.inspect import check_size, inspect
from hibana_server.sandbox.gate.judgement import unsupported_kind
from hibana_server.sandbox.gate.limits import limits_of
from hibana_server.sandbox.gate.memory_export import with_memory_exported
from hibana_server.sandbox.gate.typing import REASON as WRONG_TYPES
from hibana_server.sandbox.gate.typing import WrongTypesError, with_types
from hibana_server.sandbox.worker.engine import compile_config


def run(request: CompileRequest) -> CompileAnswer:
    """Carry out the job. The walls must stand already."""
    data = _read(request.wasm_fd, request.policy.wasm_bytes + 1)
    # A longer module was cut off while reading; the gate refuses it by its size.
    if len(data) <= request.policy.wasm_bytes and hashlib.sha256(data).hexdigest() != request.sha256:
        return _refused("DIGEST_MISMATCH", "The stored bytes do not match their digest.", "Upload the module again.")
    try:
        # Without the pooling allocator: it reserves far more address space than the walls leave.
        compiled = _component(request, data) if is_component(data) else _module(request, data)
    except GateRefused as refused:
        return Refused(refused.reason, (*_built_for(request, data, refused), refused.finding))
    except WrongTypesError as wrong:
        return Refused(WRONG_TYPES, wrong.findings)
    except wasmtime.WasmtimeError as error:
        return refusal(str(error))
    facts, serialized = compiled
    if len(serialized) > request.output_bytes:
        text = f"The compiled module has {len(serialized)} bytes, this tier allows {request.output_bytes}."
        return _refused("COMPILE_BUDGET", text, "Make the module smaller.")
    if serialized:
        _write(request.output_fd, memoryview(serialized))
    return Accepted(facts, len(serialized))


def _built_for(request: CompileRequest, data: bytes, refused: GateRefused) -> tuple[Finding, ...]:
    """Say what host a module was built for, where another build of it may be without what it is refused for."""
    if not isinstance(refused, FeatureUsed | LimitPassed) or is_component(data):
        return ()
    kind = unsupported_kind(import_names(data, limits_of(request.policy)))
    return (kind,) if kind else ()


def _module(request: CompileRequest, data: bytes) -> tuple[ModuleFacts, bytes | bytearray]:
    """Describe and compile a core module; without code where it is only to be described."""
    facts = inspect(data, request.tier, request.policy)
    if request.signatures_fd >= 0:
        facts = with_types(facts, _read(request.signatures_fd, MAX_SIGNATURES_BYTES).decode())
    if request.output_fd < 0:
        return facts, b""
    engine = wasmtime.Engine(compile_config(profile_of(facts.convention)))
    return facts, wasmtime.Module(engine, with_memory_exported(data)).serialize()


def _component(request: CompileRequest, data: bytes) -> tuple[ModuleFacts, bytes | bytearray]:
    """Compile a component and describe it, which only the engine can: types are made of each other in many ways."""
    limits = limits_of(request.policy)
    check_size(data, limits)
    sums = read_component(data, limits)
    parts = read_parts(data, limits)
    if request.signatures_fd >= 0:
        raise WrongTypesError((_TYPED_ALREADY,))
    engine = wasmtime.Engine(compile_config(COMPONENT))
    made = component.Component(engine, with_bytes(data, parts))
    facts = describe_component(engine, made, sums, tuple(parts.memories.elements()), request.tier, limits)
    return facts, b"" if request.output_fd < 0 else made.serialize()


_TYPED_ALREADY = Finding(
    Severity.ERROR,
    WRONG_TYPES,
    "A component tells the types of its functions by itself.",
    "Upload it without types.",
)


def _read(descriptor: int, limit: int) -> bytes:
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        return file.read(limit)


def _write(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _refused(reason: str, text: str, fix: str) -> Refused:
    return Refused(reason, (Finding(Severity.ERROR, reason, text, fix),))
