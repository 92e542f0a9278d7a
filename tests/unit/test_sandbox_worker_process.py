"""A job's way to a worker and back, and how it ends when the worker does."""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hibana_server.domain.executions import Outcome, Output, RunEnd, Stream
from hibana_server.sandbox.frames import LOG, STDERR, STDOUT, Out, pack
from tests.framework.guests import MIB, Listener
from tests.framework.peers import Peer, done, job, peer


async def end_of(p: Peer, listener: Listener) -> RunEnd:
    """Wait for the one end of a job."""
    end = await listener.end()
    assert len(listener.ends) == 1
    assert not p.worker.busy
    return end


# ------------------------------------------------------------ honest workers


async def test_a_job_and_its_end() -> None:
    async with peer() as p:
        listener = p.start(job("s32", "s64", "f32", "f64", argv=("a",), stdin=b"in"))
        run = p.receive()
        assert (run.call, run.function, run.argv, run.stdin) == (1, "run", ("a",), b"in")
        p.send(Out(STDOUT, b"hello"), done(results=(-1, 2**63 - 1, 0.5, math.inf)))
        end = await end_of(p, listener)
        assert (end.outcome, end.failure) == (Outcome.OK, None)
        assert end.results == (-1, 2**63 - 1, 0.5, math.inf)
        assert listener.text() == b"hello"
        assert p.idle == [True]
        assert p.worker.held == {"key"}


async def test_jobs_one_after_the_other() -> None:
    async with peer() as p:
        for call in (1, 2, 3):
            listener = p.start()
            assert p.receive().call == call
            p.send(done(call))
            assert (await end_of(p, listener)).outcome is Outcome.OK
        assert p.idle == [True] * 3


async def test_what_the_worker_holds_is_followed() -> None:
    async with peer() as p:
        for call, (loaded, evicted, held) in enumerate(
            [(True, (), {"key"}), (False, ("key", "unknown"), set()), (True, ("key",), {"key"})], start=1
        ):
            listener = p.start()
            p.receive()
            p.send(done(call, loaded=loaded, evicted=evicted))
            await end_of(p, listener)
            assert p.worker.held == held


async def test_a_large_job_reaches_a_slow_reader_whole() -> None:
    stdin = os.urandom(4 * MIB)
    async with peer() as p:
        listener = p.start(job(stdin=stdin))
        run = await asyncio.to_thread(p.receive)
        assert run.stdin == stdin
        p.send(done())
        assert (await end_of(p, listener)).outcome is Outcome.OK


async def test_streams_and_log_lines_keep_their_order() -> None:
    async with peer() as p:
        listener = p.start()
        p.receive()
        logged = Out(LOG, b"d", 3), Out(LOG, b"e")
        p.send(Out(STDOUT, b"a"), Out(STDOUT, b"b"), Out(STDERR, b"c"), *logged, Out(STDOUT, b"f"), done())
        await end_of(p, listener)
        assert listener.pieces == [
            Output(Stream.STDOUT, b"ab"),
            Output(Stream.STDERR, b"c"),
            Output(Stream.LOG, b"d", 3),
            Output(Stream.LOG, b"e", 0),
            Output(Stream.STDOUT, b"f"),
        ]


async def test_single_bytes_are_joined() -> None:
    async with peer() as p:
        listener = p.start()
        p.receive()
        sent = pack(Out(STDOUT, b"x")) * 50_000 + pack(done())
        await asyncio.to_thread(p.send, bytes(sent))
        await end_of(p, listener)
        assert listener.text() == b"x" * 50_000
        assert len(listener.pieces) < 500


_STREAM = st.sampled_from([STDOUT, STDERR])
_OUTPUT = st.lists(st.tuples(_STREAM, st.binary(min_size=1, max_size=200)), max_size=20)


@given(_OUTPUT, st.lists(st.integers(0, 5000), max_size=20))
async def test_frames_may_arrive_in_any_pieces(output: list[tuple[int, bytes]], cuts: list[int]) -> None:
    async with peer() as p:
        listener = p.start()
        p.receive()
        data = b"".join(bytes(pack(Out(stream, piece))) for stream, piece in output) + bytes(pack(done()))
        positions = [0, *sorted(cut % len(data) for cut in cuts), len(data)]
        for start, stop in itertools.pairwise(positions):
            p.sock.sendall(data[start:stop])
            # One turn of the loop: the front reads what is there.
            await asyncio.sleep(0)
        assert (await end_of(p, listener)).outcome is Outcome.OK
        for stream, number in ((Stream.STDOUT, STDOUT), (Stream.STDERR, STDERR)):
            assert listener.text(stream) == b"".join(piece for each, piece in output if each == number)


# ------------------------------------------------------------ kills and deaths


async def test_a_kill_decides_the_outcome_although_the_end_was_on_its_way() -> None:
    async with peer() as p:
        listener = p.start(job("s32"))
        p.receive()
        p.send(Out(STDOUT, b"seen"), done(results=(1,)))
        p.worker.kill(Outcome.CANCELLED)
        p.worker.kill(Outcome.TIMEOUT)
        end = await end_of(p, listener)
        assert (end.outcome, end.results) == (Outcome.CANCELLED, ())
        assert end.failure is not None
        assert end.failure.message
        # Nobody may be given a worker that is dying.
        p.close()
        assert p.idle == [False]


async def test_the_end_of_the_channel_is_the_end_of_the_job() -> None:
    async with peer() as p:
        listener = p.start()
        p.receive()
        p.send(Out(STDOUT, b"last words"))
        p.sock.close()
        await p.assert_lost(listener)
        assert listener.text() == b"last words"


async def test_half_a_frame_and_the_end_of_the_channel() -> None:
    async with peer() as p:
        listener = p.start()
        p.receive()
        p.send(Out(STDOUT, b"whole"), bytes(pack(done()))[:-3])
        p.sock.close()
        await p.assert_lost(listener)
        assert listener.text() == b"whole"


async def test_the_end_of_the_process_is_the_end_of_the_job() -> None:
    """Somebody else may hold the channel open: a process that the guest managed to start."""
    async with peer() as p:
        listener = p.start()
        p.receive()
        p.send(Out(STDOUT, b"last words"))
        p.process.kill()
        await p.assert_lost(listener)
        assert listener.text() == b"last words"


async def test_a_guest_that_never_answers_is_killed_after_the_grace() -> None:
    async with peer(grace=0.01) as p:
        p.worker.held.add("key")
        listener = p.start(job(timeout=0.01))
        end = await end_of(p, listener)
        assert end.outcome is Outcome.TIMEOUT
        assert end.usage.execution_ns >= 20_000_000
        assert p.process.wait(20) == -signal.SIGKILL


async def test_a_worker_that_died_before_its_job() -> None:
    async with peer() as p:
        p.sock.close()
        p.process.kill()
        await asyncio.to_thread(p.process.wait)
        listener = p.start()
        assert (await end_of(p, listener)).outcome is Outcome.LOST
        assert not p.worker.alive


@pytest.mark.parametrize("seen", [False, True])
async def test_a_kill_before_the_job_decides_its_outcome(seen: bool) -> None:
    async with peer() as p:
        p.worker.kill(Outcome.CANCELLED)
        if seen:
            p.sock.close()
            await p.until_idle()
        listener = p.start()
        assert (await end_of(p, listener)).outcome is Outcome.CANCELLED


async def test_a_kill_after_the_end_is_harmless() -> None:
    async with peer() as p:
        p.sock.close()
        await p.until_idle()
        p.worker.kill(Outcome.CANCELLED)
        p.worker.close()
        assert p.idle == [False]


class Failing(Listener):
    """A sink with defects."""

    def __init__(self, *, output: bool = False, ended: bool = False) -> None:
        super().__init__()
        self._fail = output, ended

    def output(self, pieces: Sequence[Output]) -> None:
        super().output(pieces)
        if self._fail[0]:
            raise RuntimeError("a defect of the sink")

    def ended(self, end: RunEnd) -> None:
        super().ended(end)
        if self._fail[1]:
            raise RuntimeError("a defect of the sink")


@pytest.mark.parametrize(("output", "ended"), [(True, False), (False, True), (True, True)])
async def test_a_sink_that_raises_does_not_hold_the_worker(output: bool, ended: bool) -> None:
    async with peer() as p:
        listener = Failing(output=output, ended=ended)
        loop = asyncio.get_running_loop()
        handler = loop.get_exception_handler()
        loop.set_exception_handler(lambda _loop, _context: None)
        try:
            p.worker.start(job(), listener)
            p.receive()
            p.send(Out(STDOUT, b"x"), done())
            await end_of(p, listener)
            await p.until_idle()
            assert len(p.idle) == 1
        finally:
            loop.set_exception_handler(handler)


async def test_a_job_that_cannot_be_encoded_leaves_the_worker_idle() -> None:
    async with peer() as p:
        with pytest.raises(UnicodeEncodeError):
            p.start(job(argv=("\ud800",)))
        assert not p.worker.busy
        listener = p.start()
        p.send(done(p.receive().call))
        assert (await end_of(p, listener)).outcome is Outcome.OK


async def test_no_descriptor_is_left_behind() -> None:
    async def rounds() -> None:
        for ending in ("kill", "close", "nonsense"):
            async with peer() as p:
                listener = p.start(job(stdin=bytes(4 * MIB)))
                if ending == "kill":
                    p.worker.kill(Outcome.CANCELLED)
                    p.sock.close()
                elif ending == "close":
                    p.sock.close()
                else:
                    p.send(b"\xff" * 8)
                await listener.end()

    await rounds()
    before = sorted(Path("/proc/self/fd").iterdir())
    await rounds()
    assert sorted(Path("/proc/self/fd").iterdir()) == before
