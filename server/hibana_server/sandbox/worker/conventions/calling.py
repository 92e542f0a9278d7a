"""Calling a function with values: types read, the convention chosen, and every way to end put into words."""

from __future__ import annotations

import ctypes
from typing import Any

from hibana_server.domain.executions import Outcome
from hibana_server.domain.text import clean
from hibana_server.domain.wit import Type, read_type
from hibana_server.domain.wit_values import MismatchError, check
from hibana_server.sandbox.bulk import MAX_RESULT_BYTES, TooLargeError, encode
from hibana_server.sandbox.frames import Typed
from hibana_server.sandbox.worker.call_state import CallState
from hibana_server.sandbox.worker.conventions.ends import (
    BadOutputError,
    MissingError,
    RefusedError,
    ThrownError,
    TooMuchError,
)
from hibana_server.sandbox.worker.conventions.instance import Instance
from hibana_server.sandbox.worker.conventions.signature import Signature
from hibana_server.sandbox.worker.conventions.table import CONVENTIONS
from hibana_server.sandbox.worker.module_cache import LoadedModule
from hibana_server.sandbox.worker.native import REFERENCE_VALUE, TABLE_KIND, ffi
from hibana_server.sandbox.worker.outcomes import End, thrown

CALL_ENDS = (BadOutputError, RefusedError, ThrownError, TooMuchError, TooLargeError, MissingError)
"""What `call_typed` raises besides FailedError."""


def call_typed(instance: Instance, name: str, typed: Typed) -> tuple[bytes, list[bytes]]:
    """Call a function and return its results as `sandbox/bulk.py` encodes them. Raises FailedError and CALL_ENDS."""
    convention = CONVENTIONS.get(typed.convention)
    if convention is None:
        raise MissingError(name)
    parameters, results = tuple(map(read_type, typed.parameters)), tuple(map(read_type, typed.results))
    values = convention.call(instance, name, Signature(parameters, results, typed.forms), typed.arguments)
    return answer(results, values)


def answer(results: tuple[Type, ...], values: tuple[Any, ...]) -> tuple[bytes, list[bytes]]:
    """Return what a function returned as `sandbox/bulk.py` encodes it. Raises BadOutputError, TooLargeError."""
    for type_, value in zip(results, values, strict=True):
        try:
            check(type_, value)
        except MismatchError as error:
            raise BadOutputError(f"returned a {type_.kind} that {error.problem}") from None
    return encode(values)


def end_of(error: Exception) -> End:
    """Return how a call ended that raised one of CALL_ENDS."""
    match error:
        case BadOutputError():
            return End(Outcome.BAD_OUTPUT, message=clean(f"the guest {error}", 512))
        case RefusedError():
            return End(Outcome.CANCELLED, code=error.code, message=clean(str(error), 512))
        case ThrownError():
            return thrown(str(error))
        case TooMuchError() | TooLargeError():
            text = f"the guest returned more than {MAX_RESULT_BYTES} bytes, which one answer does not hold"
            return End(Outcome.OUTPUT_LIMIT, message=f"{text}; write bulk to stdout")
        case _:
            text = f"the function {clean(str(error))} is not what its types say; upload the module again"
            return End(Outcome.LOST, message=text)


def thrown_text(context: Any, instance: Any, loaded: LoadedModule, state: CallState, number: int) -> str:
    """Return the text of a thrown object by its number: in a table of references, or of the object itself."""
    name = loaded.references
    if name is None:
        return state.object_text(number)
    extern, value = ffi.wasmtime_extern_t(), ffi.wasmtime_val_t()
    if not ffi.wasmtime_instance_export_get(context, ctypes.byref(instance), name, len(name), ctypes.byref(extern)):
        return state.object_text(0)
    if extern.kind != TABLE_KIND:
        return state.object_text(0)
    if not ffi.wasmtime_table_get(context, ctypes.byref(extern.of.table), number, ctypes.byref(value)):
        return state.object_text(0)
    if value.kind != REFERENCE_VALUE or not value.of.externref.store_id:
        return state.object_text(0)
    return state.object_text(int(ffi.wasmtime_externref_data(context, ctypes.byref(value.of.externref)) or 0))
