"""A host function of WASI 0.2: its types, and what carries it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hibana_server.domain.wit import Type, read_type
from hibana_server.sandbox.worker.components.wasi.held import Held
from hibana_server.sandbox.worker.files import codes
from hibana_server.sandbox.worker.files.codes import Refused

Call = Callable[..., Any]
"""Takes what the guest holds, then its arguments."""


@dataclass(frozen=True, slots=True)
class HostFunction:
    """Carries out one import."""

    parameters: tuple[Type, ...]
    result: Type | None
    call: Call


def function(call: Call, *types: str) -> HostFunction:
    """Make one from the types of its parameters and of its result, which is `_` where it returns nothing."""
    *parameters, result = types
    return HostFunction(tuple(map(read_type, parameters)), None if result == "_" else read_type(result), call)


ERROR_NAMES = {
    codes.ACCES: "access",
    codes.BADF: "bad-descriptor",
    codes.BUSY: "busy",
    codes.EXIST: "exist",
    codes.ILSEQ: "illegal-byte-sequence",
    codes.INVAL: "invalid",
    codes.ISDIR: "is-directory",
    codes.LOOP: "loop",
    codes.MFILE: "insufficient-memory",
    codes.NAMETOOLONG: "name-too-long",
    codes.NOENT: "no-entry",
    codes.NOSPC: "insufficient-space",
    codes.NOTDIR: "not-directory",
    codes.NOTEMPTY: "not-empty",
    codes.PERM: "not-permitted",
    codes.SPIPE: "invalid-seek",
}
"""What wasi:filesystem calls the codes; it knows none for too many open files."""
ERROR_CODE = f"enum {{ {', '.join(ERROR_NAMES.values())} }}"
"""The names that are told, in any order: the engine passes cases by name."""


def file_function(call: Call, *types: str) -> HostFunction:
    """Make one that returns a result with an error code for what is Refused; the last type is that of success."""

    def answering(held: Held, *arguments: Any) -> list[Any]:
        try:
            return [False, call(held, *arguments)]
        except Refused as refused:
            return [True, ERROR_NAMES[refused.code]]

    *parameters, result = types
    return function(answering, *parameters, f"result<{result}, {ERROR_CODE}>")
