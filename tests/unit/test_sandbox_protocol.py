"""What the front believes of a worker: one whose guest took it over may send anything."""

from __future__ import annotations

import asyncio
import math
import signal
import struct
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hibana_server.domain.executions import Outcome
from hibana_server.sandbox.frames import HEADER, LOG, MAX_FROM_WORKER, OUTPUT_PIECE, STDERR, STDOUT, Loaded, Out, pack
from tests.framework.guests import MIB
from tests.framework.peers import done, framed, job, peer


def raw(*fields: Any) -> bytes:
    """Encode an array without the types of the frames."""
    return framed(msgspec.msgpack.encode(fields))


NONSENSE: dict[str, Sequence[Any]] = {
    "a frame longer than any": [HEADER.pack(MAX_FROM_WORKER + 1)],
    "the longest length": [HEADER.pack(2**32 - 1)],
    "an empty frame": [framed(b"")],
    "no MessagePack": [framed(b"\xc1\xff\x00")],
    "not an array": [framed(msgspec.msgpack.encode({"tag": 2}))],
    "an unknown tag": [raw(77, 1, 2)],
    "a frame that is cut short": [raw(2, 1, "ok")],
    "a deeply nested frame": [framed(b"\x91" * 100_000 + b"\x90")],
    "an array that claims four billion items": [framed(b"\xdd\xff\xff\xff\xff")],
    "text instead of bytes": [raw(1, STDOUT, 5, 0)],
    "an unknown stream": [Out(9, b"x")],
    "a negative stream": [Out(-1, b"x")],
    "output of nothing": [Out(STDOUT, b"")],
    "a piece beyond the longest": [Out(STDOUT, bytes(OUTPUT_PIECE + 1))],
    "output beyond the limit": [Out(STDOUT, bytes(60_000)), Out(STDERR, bytes(40_001))],
    "a log line that is no UTF-8": [Out(LOG, b"\xff\xfe", 1)],
    "a log level above all": [Out(LOG, b"x", 5)],
    "a log level below all": [Out(LOG, b"x", -1)],
    "the end of the call before": [done(0)],
    "the end of the call after": [done(2)],
    "an unknown outcome": [done(outcome="fine")],
    "an outcome that only the front decides": [done(outcome="cancelled")],
    "an outcome of another room": [done(outcome="bad_output")],
    "more after the end": [done(), Out(STDOUT, b"x")],
    "loaded twice": [Loaded(1), Loaded(1)],
    "loaded for another call": [Loaded(2)],
    "a second end": [done(), done()],
    "the beginning of more after the end": [done(), b"\x01"],
    "results nobody asked for": [done(results=(1,))],
}


@pytest.mark.parametrize("frames", NONSENSE.values(), ids=NONSENSE.keys())
async def test_nonsense_costs_the_worker_its_life(frames: Sequence[Any]) -> None:
    async with peer() as p:
        listener = p.start()
        p.receive()
        await asyncio.to_thread(p.send, *frames)
        await p.assert_lost(listener)


WRONG = [
    (("s32",), ()),
    (("s32",), (1, 2)),
    (("s32",), (2**31,)),
    (("s32",), (-(2**31) - 1,)),
    (("s64",), (2**63,)),
    (("s32",), (1.0,)),
    (("s32",), (math.nan,)),
    (("f64",), (1,)),
    (("f32",), (1e300,)),
    (("f32",), (0.1,)),
    (("s32", "s32"), (1, 1.5)),
]


@pytest.mark.parametrize(("types", "results"), WRONG)
async def test_results_are_checked(types: tuple[str, ...], results: tuple[Any, ...]) -> None:
    async with peer() as p:
        listener = p.start(job(*types))
        p.receive()
        p.send(done(results=results))
        await p.assert_lost(listener)


@pytest.mark.parametrize("value", [True, None, "1", b"1", [1], {}, msgspec.msgpack.Ext(1, b"\x01")])
async def test_results_of_no_number_are_refused(value: Any) -> None:
    async with peer() as p:
        listener = p.start(job("s32"))
        p.receive()
        p.send(raw(2, 1, "ok", [value], "", "", 0, [], 0, 0, 0, [], True))
        await p.assert_lost(listener)


@pytest.mark.parametrize("value", [0.5, -0.0, math.inf, -math.inf, 2.0**-149, 3.4028234663852886e38])
async def test_single_precision_results_pass(value: float) -> None:
    async with peer() as p:
        listener = p.start(job("f32"))
        p.receive()
        p.send(done(results=(value,)))
        assert struct.pack("<d", *(await listener.end()).results) == struct.pack("<d", value)


async def test_bytes_while_idle_end_the_worker() -> None:
    for data in (b"\x00", bytes(pack(Out(STDOUT, b"x"))), bytes(pack(done(0)))):
        async with peer() as p:
            p.send(data)
            assert await asyncio.to_thread(p.process.wait, 20) == -signal.SIGKILL
            assert p.idle == [False]


async def test_what_a_worker_tells_is_bounded() -> None:
    text = "\x1b[31mred\u202e" + "y" * 200_000
    async with peer() as p:
        listener = p.start()
        p.receive()
        await asyncio.to_thread(
            p.send,
            done(
                outcome="trap",
                code=text,
                message=text + "\U0001f600" * 1000,
                exit_code=2**40,
                backtrace=(text,) * 3 + ("\x00",) * 1000,
                execution_ns=2**64 - 1,
                cpu_ns=2**64 - 1,
                memory_bytes=2**64 - 1,
            ),
        )
        end = await listener.end()
        assert (end.outcome, end.results) == (Outcome.TRAP, ())
        failure, usage = end.failure, end.usage
        assert failure is not None
        assert len(failure.code) <= 64
        assert len(failure.message.encode()) <= 1024
        assert len(failure.backtrace) <= 16
        assert all(len(frame) <= 256 for frame in failure.backtrace)
        assert "".join((failure.code, failure.message, *failure.backtrace)).isprintable()
        assert failure.exit_code < 2**31
        assert usage.execution_ns < 30e9
        assert usage.cpu_ns < 2**63
        assert usage.memory_bytes <= 50 * MIB


async def test_negative_usage_counts_as_none() -> None:
    async with peer() as p:
        listener = p.start()
        p.receive()
        p.send(done(outcome="exit", execution_ns=-1, cpu_ns=-(2**63), memory_bytes=-5, exit_code=-(2**63)))
        end = await listener.end()
        assert (end.usage.execution_ns, end.usage.cpu_ns, end.usage.memory_bytes) == (0, 0, 0)
        assert end.failure is not None
        assert end.failure.exit_code >= -(2**31)


@given(st.binary(min_size=1, max_size=300), st.booleans())
async def test_random_bytes_end_a_job_once(data: bytes, with_length: bool) -> None:
    async with peer() as p:
        listener = p.start()
        p.receive()
        p.send(framed(data) if with_length else data)
        p.sock.shutdown(1)
        assert (await listener.end()).outcome in {Outcome.LOST, Outcome.OK}
        assert p.idle in ([False], [True, False])
