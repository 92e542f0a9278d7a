"""The functions for files as the linker takes them, in place of the engine's, for runs with a private directory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hibana_server.sandbox.imports import WASI_FUNCTIONS
from hibana_server.sandbox.worker.call_state import CallState
from hibana_server.sandbox.worker.files import codes, descriptor_calls, path_calls
from hibana_server.sandbox.worker.files.codes import Refused
from hibana_server.sandbox.worker.files.descriptor_calls import FileCall
from hibana_server.sandbox.worker.guest_memory import GuestMemory


def _function(name: str, call: FileCall) -> Callable[[CallState, GuestMemory, list[Any]], int]:
    # Descriptors, pointers, lengths and flags have no sign; 64 bits keep theirs, which offsets and distances need.
    masks = [0xFFFF_FFFF if kind == "i32" else -1 for kind in WASI_FUNCTIONS[name].parameters]

    def function(state: CallState, memory: GuestMemory, arguments: list[Any]) -> int:
        files = state.files
        if files is None:
            return codes.BADF
        try:
            call(files, memory, *[value & mask for value, mask in zip(arguments, masks, strict=True)])
        except Refused as refused:
            return refused.code
        return codes.SUCCESS

    return function


FUNCTIONS = {
    name: _function(name, call) for calls in (descriptor_calls.CALLS, path_calls.CALLS) for name, call in calls.items()
}
"""By name; every function of WASI preview 1 that takes a descriptor or a path is here, but for poll_oneoff."""
