"""What a module may import, by exact module, name and type: the gate judges by this table, the worker links by it.

Two kinds of import exist. ABI imports come with a toolchain and are open to every tier: WASI preview 1 (its
sockets answer ENOTSUP), wasm-bindgen's glue (traps when called), AssemblyScript's abort, seed and trace.
Host functions are granted by a tier's policy under the name `module.name`.

Types are spelled as in the WebAssembly text format (i32, i64, f32, f64).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class FunctionType:
    """Signature of a function in core value types."""

    parameters: tuple[str, ...] = ()
    results: tuple[str, ...] = ()


def function_type(signature: str) -> FunctionType:
    """Build the type written as `i32 i64 -> i32`; either side may be empty."""
    parameters, _, results = signature.partition("->")
    return FunctionType(tuple(parameters.split()), tuple(results.split()))


def _table(rows: dict[str, str]) -> Mapping[str, FunctionType]:
    return MappingProxyType({name: function_type(signature) for name, signature in rows.items()})


WASI_MODULE = "wasi_snapshot_preview1"

WASI_FUNCTIONS: Mapping[str, FunctionType] = _table(
    {
        "args_get": "i32 i32 -> i32",
        "args_sizes_get": "i32 i32 -> i32",
        "environ_get": "i32 i32 -> i32",
        "environ_sizes_get": "i32 i32 -> i32",
        "clock_res_get": "i32 i32 -> i32",
        "clock_time_get": "i32 i64 i32 -> i32",
        "fd_advise": "i32 i64 i64 i32 -> i32",
        "fd_allocate": "i32 i64 i64 -> i32",
        "fd_close": "i32 -> i32",
        "fd_datasync": "i32 -> i32",
        "fd_fdstat_get": "i32 i32 -> i32",
        "fd_fdstat_set_flags": "i32 i32 -> i32",
        "fd_fdstat_set_rights": "i32 i64 i64 -> i32",
        "fd_filestat_get": "i32 i32 -> i32",
        "fd_filestat_set_size": "i32 i64 -> i32",
        "fd_filestat_set_times": "i32 i64 i64 i32 -> i32",
        "fd_pread": "i32 i32 i32 i64 i32 -> i32",
        "fd_prestat_get": "i32 i32 -> i32",
        "fd_prestat_dir_name": "i32 i32 i32 -> i32",
        "fd_pwrite": "i32 i32 i32 i64 i32 -> i32",
        "fd_read": "i32 i32 i32 i32 -> i32",
        "fd_readdir": "i32 i32 i32 i64 i32 -> i32",
        "fd_renumber": "i32 i32 -> i32",
        "fd_seek": "i32 i64 i32 i32 -> i32",
        "fd_sync": "i32 -> i32",
        "fd_tell": "i32 i32 -> i32",
        "fd_write": "i32 i32 i32 i32 -> i32",
        "path_create_directory": "i32 i32 i32 -> i32",
        "path_filestat_get": "i32 i32 i32 i32 i32 -> i32",
        "path_filestat_set_times": "i32 i32 i32 i32 i64 i64 i32 -> i32",
        "path_link": "i32 i32 i32 i32 i32 i32 i32 -> i32",
        "path_open": "i32 i32 i32 i32 i32 i64 i64 i32 i32 -> i32",
        "path_readlink": "i32 i32 i32 i32 i32 i32 -> i32",
        "path_remove_directory": "i32 i32 i32 -> i32",
        "path_rename": "i32 i32 i32 i32 i32 i32 -> i32",
        "path_symlink": "i32 i32 i32 i32 i32 -> i32",
        "path_unlink_file": "i32 i32 i32 -> i32",
        "poll_oneoff": "i32 i32 i32 i32 -> i32",
        "proc_exit": "i32 ->",
        "proc_raise": "i32 -> i32",
        "random_get": "i32 i32 -> i32",
        "sched_yield": "-> i32",
        "sock_accept": "i32 i32 i32 -> i32",
        "sock_recv": "i32 i32 i32 i32 i32 i32 -> i32",
        "sock_send": "i32 i32 i32 i32 i32 -> i32",
        "sock_shutdown": "i32 i32 -> i32",
    }
)
"""WASI preview 1 as it is granted to every tier. No directory of the machine is ever opened for a guest."""

WASI_SOCKETS = frozenset({"sock_accept", "sock_recv", "sock_send", "sock_shutdown"})
"""Functions of it that can be imported, since language runtimes do, and that do nothing but answer ENOTSUP."""

HOST_FUNCTIONS: Mapping[str, tuple[FunctionType, ...]] = MappingProxyType(
    {
        "env.abort": (function_type("i32 i32 i32 i32 ->"), function_type("->")),
        "env.log": (function_type("i32 i32 i32 ->"),),
    }
)
"""Host functions this release serves, by granted name, with each type they may be imported with."""

RESERVED_HOST_FUNCTIONS = frozenset({"env.fetch"})
"""Names a policy may grant already, but that this release does not serve."""

ASSEMBLYSCRIPT_FUNCTIONS: Mapping[str, FunctionType] = _table(
    {
        "abort": "i32 i32 i32 i32 ->",
        "seed": "-> f64",
        "trace": "i32 i32 f64 f64 f64 f64 f64 ->",
    }
)
"""AssemblyScript's runtime imports of module `env`, open to every tier."""

_GLUE_MODULES = frozenset({"wbg", "__wbindgen_placeholder__", "__wbindgen_externref_xform__"})
_GLUE_FILE = re.compile(r"\./[^/\x00-\x1f]{1,200}_bg\.js")


class Provider(StrEnum):
    """Who carries an import out."""

    WASI = "wasi"
    HOST = "host"
    ASSEMBLYSCRIPT = "assemblyscript"
    GLUE = "glue"
    """wasm-bindgen's JavaScript glue: linked as a function that traps."""


@dataclass(frozen=True, slots=True)
class Granted:
    """The import is provided."""

    provider: Provider


@dataclass(frozen=True, slots=True)
class NotGranted:
    """The import is not provided; `text` completes "MODULE.NAME ...", `fix` tells what to do."""

    text: str
    fix: str


def is_glue_module(module: str) -> bool:
    """Tell whether wasm-bindgen's glue is imported under this module name."""
    return module in _GLUE_MODULES or _GLUE_FILE.fullmatch(module) is not None


def judge_function(module: str, name: str, kind: FunctionType, host_functions: frozenset[str]) -> Granted | NotGranted:
    """Decide on the import of one function for a tier that was granted `host_functions`."""
    if module == WASI_MODULE:
        return _judge_wasi(name, kind)
    if is_glue_module(module):
        return Granted(Provider.GLUE)
    if module == "wasi_unstable":
        return NotGranted("belongs to an outdated WASI", "Rebuild with a toolchain that targets wasm32-wasip1.")
    return _judge_host(module, name, kind, host_functions)


def _judge_host(module: str, name: str, kind: FunctionType, host_functions: frozenset[str]) -> Granted | NotGranted:
    granted_name = f"{module}.{name}"
    types = HOST_FUNCTIONS.get(granted_name, ())
    provider = Provider.HOST
    if granted_name not in host_functions or not types:
        # AssemblyScript's abort is an ABI import too: it stays where a policy takes env.abort away.
        if module == "env" and name in ASSEMBLYSCRIPT_FUNCTIONS:
            types, provider = (ASSEMBLYSCRIPT_FUNCTIONS[name],), Provider.ASSEMBLYSCRIPT
        elif granted_name in RESERVED_HOST_FUNCTIONS:
            return NotGranted("is not served by this release", "Pass the data in as an argument or on stdin.")
        elif types:
            return NotGranted("is not granted to this tier", "Remove the import or upload to another tier.")
        else:
            return NotGranted("is not a function this service provides", _fix(host_functions))
    return Granted(provider) if kind in types else _other_type(kind, types)


def _judge_wasi(name: str, kind: FunctionType) -> Granted | NotGranted:
    expected = WASI_FUNCTIONS.get(name)
    if expected is None:
        return NotGranted("is no function of WASI preview 1", "Rebuild with a toolchain that targets wasm32-wasip1.")
    return Granted(Provider.WASI) if kind == expected else _other_type(kind, (expected,))


def _other_type(kind: FunctionType, expected: tuple[FunctionType, ...]) -> NotGranted:
    wanted = " or ".join(spell(each) for each in expected)
    return NotGranted(
        f"has type {spell(kind)}, provided is {wanted}"[:512], "Declare it with the type that is provided."
    )


def _fix(host_functions: frozenset[str]) -> str:
    served = ", ".join(sorted(host_functions & HOST_FUNCTIONS.keys())) or "no host functions"
    return f"Remove the import; provided are WASI preview 1 and {served}."


def spell(kind: FunctionType) -> str:
    """Write a type as `(i32, i32) -> (i32)`; nothing follows where there is no result."""
    parameters = f"({', '.join(kind.parameters)})"
    return f"{parameters} -> ({', '.join(kind.results)})" if kind.results else parameters
