"""Detect how strings, bytes and structured values reach a module's functions."""

from __future__ import annotations

from hibana_server.domain.modules import Convention
from hibana_server.sandbox.gate.raw import RawModule
from hibana_server.sandbox.imports import WASI_MODULE, function_type, is_glue_module

_PACKED = function_type("i32 i32 -> i64")


def convention_of(module: RawModule) -> Convention:
    """Return the most telling convention the names and types show; the component header is seen before."""
    names = {export.name for export in module.exports}
    modules = {each.module for each in module.imports}
    if any(name.startswith("__wbindgen_") for name in names) or any(map(is_glue_module, modules)):
        return Convention.WASM_BINDGEN
    if {"__new", "__pin"} <= names:
        return Convention.ASSEMBLYSCRIPT
    if WASI_MODULE in modules and "_start" in names:
        return Convention.WASI_COMMAND
    if WASI_MODULE in modules and "_initialize" in names:
        return Convention.WASI_REACTOR
    allocates = {"alloc", "dealloc"} <= names or {"malloc", "free"} <= names
    if allocates and any(export.function == _PACKED for export in module.exports):
        return Convention.PACKED_BYTES
    return Convention.CORE
