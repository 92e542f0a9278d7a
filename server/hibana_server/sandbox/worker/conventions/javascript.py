"""The few functions of wasm-bindgen's JavaScript that are carried out here, so that errors tell their reason.

Everything else of the glue traps when it is called. Objects are nothing but numbers to a guest: old builds keep the
number of each, newer ones a reference in a table of theirs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

from hibana_server.sandbox.frames import STDERR
from hibana_server.sandbox.imports import FunctionType, function_type
from hibana_server.sandbox.worker.call_state import FIRST_OBJECT, CallState, GuestEnded

MAX_TEXT_BYTES = 16 * 1024
"""What is kept of the text of an error."""
_HASH = re.compile(r"_[0-9a-f]{16}\Z")
_EMPTY = (1).to_bytes(4, "little") + bytes(4)
"""A string without characters: a pointer that is not null, and no length."""


class Caller(Protocol):
    """The guest that calls, as these functions see it."""

    def read(self, pointer: int, length: int) -> bytes | None:
        """Return the bytes, or None when they are not all inside the memory."""

    def write(self, pointer: int, data: bytes) -> bool:
        """Write the bytes; False when they do not fit into the memory."""

    def grow_references(self, count: int) -> bool:
        """Add empty entries to the guest's table of references; False when that cannot be."""


Glue = Callable[[CallState, Caller, list[Any]], Any]


def known(name: str, kind: FunctionType) -> Glue | None:
    """Return the function that carries out an import of the glue; None where it traps."""
    plain = _HASH.sub("", name)
    if plain.startswith("__wbindgen_cast"):
        plain = "__wbindgen_cast"
    return _KNOWN.get((plain.removeprefix("__wbg_"), kind))


def _text(caller: Caller, arguments: list[Any]) -> bytes:
    pointer, length = (each & 0xFFFFFFFF for each in arguments[:2])
    data = caller.read(pointer, min(length, MAX_TEXT_BYTES))
    return b"" if data is None else data


def _throw(state: CallState, caller: Caller, arguments: list[Any]) -> None:
    state.thrown_text = _text(caller, arguments).decode("utf-8", "replace")
    raise GuestEnded


def _object(state: CallState, caller: Caller, arguments: list[Any]) -> int:
    """Make an object of a text; returns its number."""
    return state.keep(_text(caller, arguments))


def _error(state: CallState, _caller: Caller, _arguments: list[Any]) -> int:
    return state.keep(b"Error")


def _stack(_state: CallState, caller: Caller, arguments: list[Any]) -> None:
    """Tell where an error was made: nowhere that means anything here."""
    caller.write(arguments[0] & 0xFFFFFFFF, _EMPTY)


def _console_error(state: CallState, caller: Caller, arguments: list[Any]) -> None:
    text = _text(caller, arguments)
    if text:
        state.write(STDERR, text + b"\n")


def _init_table(_state: CallState, caller: Caller, _arguments: list[Any]) -> None:
    """Make room for undefined, null, true and false, which have fixed places."""
    caller.grow_references(4)


def _nothing(_state: CallState, _caller: Caller, _arguments: list[Any]) -> None:
    """Objects are dropped with the call."""


def _clone(_state: CallState, _caller: Caller, arguments: list[Any]) -> Any:
    return arguments[0]


def _is_undefined(_state: CallState, _caller: Caller, arguments: list[Any]) -> int:
    return int(_plain(arguments[0]) == _UNDEFINED)


def _is_null(_state: CallState, _caller: Caller, arguments: list[Any]) -> int:
    return int(_plain(arguments[0]) == _NULL)


def _plain(number: int | None) -> int | None:
    """Return which of undefined, null, true and false a value is; None for an object."""
    if number is None or number & 0xFFFFFFFF >= FIRST_OBJECT:
        return None
    return max(number & 0xFFFFFFFF, _UNDEFINED)  # the places before are free, and hold undefined


def _unlike(name: str) -> Glue:
    """Return a function that says no to undefined, null, true and false; of objects only JavaScript knows."""

    def ask(state: CallState, _caller: Caller, arguments: list[Any]) -> int:
        if _plain(arguments[0]) is None:
            state.glue_called = name
            raise GuestEnded
        return 0

    return ask


_UNDEFINED, _NULL = FIRST_OBJECT - 4, FIRST_OBJECT - 3


def _rows() -> dict[tuple[str, FunctionType], Glue]:
    rows: list[tuple[str, str, Glue]] = [
        ("__wbindgen_throw", "i32 i32 ->", _throw),
        ("__wbindgen_init_externref_table", "->", _init_table),
        ("__wbindgen_object_drop_ref", "i32 ->", _nothing),
        ("__wbindgen_object_clone_ref", "i32 -> i32", _clone),
        ("error", "i32 i32 ->", _console_error),
        ("stack", "i32 i32 ->", _stack),
        ("stack", "i32 externref ->", _stack),
    ]
    for made in ("i32", "externref"):
        rows += [(name, f"i32 i32 -> {made}", _object) for name in _FROM_TEXT]
        rows.append(("new", f"-> {made}", _error))
    for asked in ("i32", "externref"):
        rows.append(("__wbindgen_is_undefined", f"{asked} -> i32", _is_undefined))
        rows.append(("__wbindgen_is_null", f"{asked} -> i32", _is_null))
        rows += [(name, f"{asked} -> i32", _unlike(name)) for name in _NEVER_PLAIN]
    return {(name, function_type(kind)): glue for name, kind, glue in rows}


_FROM_TEXT = ("__wbindgen_string_new", "__wbindgen_error_new", "__wbindgen_cast", "Error", "new")
_NEVER_PLAIN = ("__wbindgen_is_object", "__wbindgen_is_string", "__wbindgen_is_function")
_KNOWN = _rows()
