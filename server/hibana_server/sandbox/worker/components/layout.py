"""How the engine's C API lays out values of components: a kind, and three words that mean something else for each.

The binding's own classes take a microsecond for every part of a value. These write and read memory as a whole.
"""

from __future__ import annotations

import ctypes
import struct
from typing import Final

from hibana_server.sandbox.worker.native import ffi

SIZE: Final = 32
"""Bytes of a value."""
ENTRY_SIZE: Final = 48
"""Bytes of a record's field: its name, and its value."""
NAME_SIZE: Final = 16
"""Bytes of a name: length and address."""
AT: Final = 8
"""Where the words of a value begin."""

VALUE: Final = struct.Struct("<B7xQQQ")
NAME: Final = struct.Struct("<QQ")
F32: Final = struct.Struct("<f")
F64: Final = struct.Struct("<d")
WORD: Final = struct.Struct("<Q")
MASK: Final = 0xFFFF_FFFF_FFFF_FFFF

KINDS: Final[dict[str, int]] = {
    "bool": ffi.WASMTIME_COMPONENT_BOOL.value,
    "s8": ffi.WASMTIME_COMPONENT_S8.value,
    "u8": ffi.WASMTIME_COMPONENT_U8.value,
    "s16": ffi.WASMTIME_COMPONENT_S16.value,
    "u16": ffi.WASMTIME_COMPONENT_U16.value,
    "s32": ffi.WASMTIME_COMPONENT_S32.value,
    "u32": ffi.WASMTIME_COMPONENT_U32.value,
    "s64": ffi.WASMTIME_COMPONENT_S64.value,
    "u64": ffi.WASMTIME_COMPONENT_U64.value,
    "f32": ffi.WASMTIME_COMPONENT_F32.value,
    "f64": ffi.WASMTIME_COMPONENT_F64.value,
    "char": ffi.WASMTIME_COMPONENT_CHAR.value,
    "string": ffi.WASMTIME_COMPONENT_STRING.value,
    "bytes": ffi.WASMTIME_COMPONENT_LIST.value,
    "list": ffi.WASMTIME_COMPONENT_LIST.value,
    "record": ffi.WASMTIME_COMPONENT_RECORD.value,
    "tuple": ffi.WASMTIME_COMPONENT_TUPLE.value,
    "variant": ffi.WASMTIME_COMPONENT_VARIANT.value,
    "enum": ffi.WASMTIME_COMPONENT_ENUM.value,
    "option": ffi.WASMTIME_COMPONENT_OPTION.value,
    "result": ffi.WASMTIME_COMPONENT_RESULT.value,
    "flags": ffi.WASMTIME_COMPONENT_FLAGS.value,
    "own": ffi.WASMTIME_COMPONENT_RESOURCE.value,
    "borrow": ffi.WASMTIME_COMPONENT_RESOURCE.value,
}
"""The engine's number for each of `domain.wit`'s kinds."""


def check_layout() -> None:
    """Raise AssertionError where the engine lays values out in another way."""
    value, entry = ffi.wasmtime_component_val_t, ffi.wasmtime_component_valrecord_entry_t
    found = (ctypes.sizeof(value), value.of.offset, ctypes.sizeof(entry), entry.val.offset)
    name = ctypes.sizeof(ffi.wasm_name_t)
    if (*found, name) != (SIZE, AT, ENTRY_SIZE, NAME_SIZE, NAME_SIZE):
        raise AssertionError(found)
