"""wasi:io and the standard streams of wasi:cli. Nothing here ever blocks but timers."""

from __future__ import annotations

import time
from typing import Any

from hibana_server.sandbox.frames import STDERR, STDOUT
from hibana_server.sandbox.worker.call_state import GuestEnded
from hibana_server.sandbox.worker.components.wasi.function import ERROR_NAMES, HostFunction, function
from hibana_server.sandbox.worker.components.wasi.held import PIECE, Failed, Held, Input, Output, Pollable
from hibana_server.sandbox.worker.files.codes import Refused

_CLOSED = ["closed", None]
_IN, _OUT = "borrow<input-stream>", "borrow<output-stream>"
_ERROR = "variant { last-operation-failed(own<error>), closed }"


def _read(held: Held, number: int, most: int) -> list[Any]:
    taken = held.get(number, Input).take(most)
    return [True, _CLOSED] if taken is None else [False, taken]


def _skip(held: Held, number: int, most: int) -> list[Any]:
    taken = held.get(number, Input).take(most)
    return [True, _CLOSED] if taken is None else [False, len(taken)]


def _room(held: Held, number: int) -> list[Any]:
    return [True, _CLOSED] if held.get(number, Output).closed else [False, PIECE]


def _write(held: Held, number: int, data: bytes) -> list[Any]:
    output = held.get(number, Output)
    if output.closed:
        return [True, _CLOSED]
    if output.file is None:
        if not held.state.write(output.stream, data):
            raise GuestEnded  # past the output limit, which the state tells
        return [False, None]
    place = output.file.size if output.place is None else output.place
    try:
        held.tree.write(output.file, place, data)
    except Refused as refused:
        output.closed = True
        return [True, ["last-operation-failed", held.hold(Failed(refused.code))]]
    if output.place is not None:
        output.place += len(data)
    return [False, None]


def _write_zeroes(held: Held, number: int, size: int) -> list[Any]:
    if size > PIECE:
        held.end("the guest wrote more zeroes to a stream than it had room for")
    return _write(held, number, bytes(size))


def _flush(held: Held, number: int) -> list[Any]:
    return [True, _CLOSED] if held.get(number, Output).closed else [False, None]


def _splice(held: Held, number: int, source: int, most: int) -> list[Any]:
    if held.get(number, Output).closed:
        return [True, _CLOSED]
    taken = held.get(source, Input).take(most)
    if taken is None:
        return [True, _CLOSED]
    written = _write(held, number, taken)
    return written if written[0] else [False, len(taken)]


def _ready(held: Held, _number: int) -> int:
    return held.hold(Pollable())


def _poll(held: Held, numbers: list[int]) -> list[int]:
    if not numbers:
        held.end("the guest polled nothing at all")
    times = [held.get(number, Pollable).at for number in numbers]
    held.wait(min(times))
    now = time.monotonic_ns()
    return [place for place, at in enumerate(times) if at <= now]


def _error_text(held: Held, number: int) -> str:
    return ERROR_NAMES[held.get(number, Failed).code]


def _stdin(held: Held) -> int:
    return held.hold(held.stdin)


STREAMS: dict[str, dict[str, HostFunction]] = {
    "wasi:io/error": {"[method]error.to-debug-string": function(_error_text, "borrow<error>", "string")},
    "wasi:io/poll": {
        "[method]pollable.ready": function(
            lambda held, number: held.get(number, Pollable).at <= time.monotonic_ns(), "borrow<pollable>", "bool"
        ),
        "[method]pollable.block": function(
            lambda held, number: held.wait(held.get(number, Pollable).at), "borrow<pollable>", "_"
        ),
        "poll": function(_poll, "list<borrow<pollable>>", "list<u32>"),
    },
    "wasi:io/streams": {
        **{
            f"[method]input-stream.{name}": function(_read, _IN, "u64", f"result<list<u8>, {_ERROR}>")
            for name in ("read", "blocking-read")
        },
        **{
            f"[method]input-stream.{name}": function(_skip, _IN, "u64", f"result<u64, {_ERROR}>")
            for name in ("skip", "blocking-skip")
        },
        "[method]input-stream.subscribe": function(_ready, _IN, "own<pollable>"),
        "[method]output-stream.check-write": function(_room, _OUT, f"result<u64, {_ERROR}>"),
        **{
            f"[method]output-stream.{name}": function(_write, _OUT, "list<u8>", f"result<_, {_ERROR}>")
            for name in ("write", "blocking-write-and-flush")
        },
        **{
            f"[method]output-stream.{name}": function(_write_zeroes, _OUT, "u64", f"result<_, {_ERROR}>")
            for name in ("write-zeroes", "blocking-write-zeroes-and-flush")
        },
        **{
            f"[method]output-stream.{name}": function(_flush, _OUT, f"result<_, {_ERROR}>")
            for name in ("flush", "blocking-flush")
        },
        **{
            f"[method]output-stream.{name}": function(_splice, _OUT, _IN, "u64", f"result<u64, {_ERROR}>")
            for name in ("splice", "blocking-splice")
        },
        "[method]output-stream.subscribe": function(_ready, _OUT, "own<pollable>"),
    },
    "wasi:cli/stdin": {"get-stdin": function(_stdin, "own<input-stream>")},
    "wasi:cli/stdout": {"get-stdout": function(lambda held: held.hold(Output(stream=STDOUT)), "own<output-stream>")},
    "wasi:cli/stderr": {"get-stderr": function(lambda held: held.hold(Output(stream=STDERR)), "own<output-stream>")},
    "wasi:clocks/monotonic-clock": {
        "now": function(lambda _held: time.monotonic_ns(), "u64"),
        "resolution": function(lambda _held: 1, "u64"),
        "subscribe-instant": function(lambda held, at: held.hold(Pollable(at)), "u64", "own<pollable>"),
        "subscribe-duration": function(
            lambda held, wait: held.hold(Pollable(time.monotonic_ns() + wait)), "u64", "own<pollable>"
        ),
    },
}
"""By interface and name."""
