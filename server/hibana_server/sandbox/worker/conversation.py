"""A worker that is leased: calls come in any number, run one after the other, and are answered in their order.

What was called and not begun waits here. A call that takes long sends the answers before it on their way (from the
deadline's thread: the guest's is busy), and where each call has an instance of its own the calls behind it are given
back, for another worker to run.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress

from hibana_server.domain.executions import Outcome
from hibana_server.sandbox.frames import (
    CLOSE_SECONDS,
    Back,
    Call,
    Calls,
    Close,
    Closed,
    Drop,
    Feed,
    Left,
    Open,
    ToWorker,
    Wants,
)
from hibana_server.sandbox.worker.call_state import CallState
from hibana_server.sandbox.worker.channel import Channel, ChannelClosed
from hibana_server.sandbox.worker.components.kept import KeptComponent
from hibana_server.sandbox.worker.files.delivery import deliver
from hibana_server.sandbox.worker.fresh_instances import FreshInstances
from hibana_server.sandbox.worker.kept import Kept
from hibana_server.sandbox.worker.kept_core import KeptCore
from hibana_server.sandbox.worker.outcomes import done, timed_out
from hibana_server.sandbox.worker.runner import Runner
from hibana_server.sandbox.worker.stdin import Stdin

_SLOW_NS = 200_000
"""A call that took longer may have been overtaken by a word from the front, which is looked for then."""


class Conversation:
    """The worker's side of a lease, from `Open` to `Close`."""

    def __init__(self, channel: Channel, runner: Runner, opened: Open) -> None:
        """Make ready and tell the front."""
        self._channel = channel
        self._runner = runner
        self._fresh = opened.fresh
        self._left = opened.timeout
        """Seconds that guests may still run."""
        self._lock = threading.Lock()
        self._waiting: deque[Call] = deque()
        self._told_long = False
        """Whether the front knows that the call that runs takes long."""
        self._closed: Closed | None = None
        state = runner.state(opened.output_bytes)
        self._stdin = state.stdin = None if opened.fresh else Stdin(self._more_stdin)
        self._asked = False
        """Whether the front was asked for stdin and has not answered."""
        self._state = state
        self._directory = opened.directory if opened.directory and opened.directory.outputs else None
        """There while wanted files have yet to be sent."""
        self._kept = _kept(runner, channel, opened, state)
        if not opened.fresh:
            runner.linker.state = state
        runner.deadline.when_long = self._long
        self._run(0, opened.timeout, None)
        channel.flush()

    def step(self) -> Closed | None:
        """Run the next call, or wait for a word from the front; returns the last word when the conversation ended."""
        with self._lock:
            call = self._waiting.popleft() if self._waiting else None
            self._told_long = False
        if call is None:
            self._channel.flush()
            self._take(self._channel.receive_alone())
        elif self._run(call.call, call.timeout, call) > _SLOW_NS:
            while (frame := self._channel.receive_within(0)) is not None:
                self._take(frame)
        return self._closed

    def _run(self, number: int, timeout: float, call: Call | None) -> int:
        """Run a call, or what makes ready for calls, and answer; returns how long it took, nanoseconds."""
        kept, deadline = self._kept, self._runner.deadline
        seconds = min(timeout, self._left)
        started, cpu_started = time.perf_counter_ns(), time.process_time_ns()
        if seconds <= 0:
            end = timed_out(timeout)
            kept.over = True
        elif isinstance(kept, FreshInstances):  # arms the deadline itself, for each instance that it makes
            kept.cpu_started = cpu_started
            end = kept.open() if call is None else kept.call(call, seconds)
        else:
            deadline.arm(seconds, cpu_started)
            try:
                end = kept.open() if call is None else kept.call(call, seconds)
            finally:
                deadline.disarm()
        took = time.perf_counter_ns() - started
        if not self._fresh:
            self._left -= took / 1e9
        used = (took, time.process_time_ns() - cpu_started, kept.memory_bytes)
        self._channel.answer(done(number, end, used, loaded=end.outcome is not Outcome.LOST))
        if kept.over:
            with self._lock:
                self._waiting.clear()
            self._deliver()
            self._channel.flush(over=True)
        return took

    def _long(self) -> None:
        """Send what waits for the end of a call that takes long. On the deadline's thread."""
        self._channel.flush()
        if not self._fresh:
            return
        with suppress(ChannelClosed):  # the guest's thread finds that too
            for frame in self._channel.receive_aside():
                self._take(frame)
        with self._lock:
            given_back = tuple(call.call for call in self._waiting)
            self._waiting.clear()
            told, self._told_long = self._told_long, True
        if given_back or not told:
            self._channel.send(Back(given_back))

    def _take(self, frame: ToWorker) -> None:
        match frame:
            case Calls():
                if not self._kept.over:
                    with self._lock:
                        self._waiting.extend(frame.calls)
            case Feed():
                self._asked = False
                if self._stdin is not None:
                    self._stdin.feed(frame.data, last=frame.last)
            case Drop():
                self._drop(frame.call)
            case Close():
                self._close()
            case _:
                raise ChannelClosed

    def _drop(self, number: int) -> None:
        with self._lock:
            for call in self._waiting:
                if call.call == number:
                    self._waiting.remove(call)
                    break
            else:
                return
        self._channel.send(Back((number,)))

    def _close(self) -> None:
        runner = self._runner
        runner.deadline.when_long = None
        started, cpu_started = time.perf_counter_ns(), time.process_time_ns()
        runner.deadline.arm(max(0.0, min(self._left, CLOSE_SECONDS)), cpu_started)
        try:
            self._kept.close()
        finally:
            runner.deadline.disarm()
        runner.linker.state = None
        self._deliver()
        self._closed = Closed(time.perf_counter_ns() - started, time.process_time_ns() - cpu_started)

    def _deliver(self) -> None:
        """Send the wanted files of an instance that has ended, once."""
        directory, self._directory = self._directory, None
        if directory is not None:
            self._channel.send(Left(*deliver(directory, self._state)))

    def _more_stdin(self, seconds: float) -> bool:
        """Wait for more of stdin while the guest waits for it; False when the time was over before."""
        if not self._asked:
            self._asked = True
            self._channel.send(Wants())
        frame = self._channel.receive_within(seconds)
        if frame is None:
            return False
        self._take(frame)
        return True


def _kept(runner: Runner, channel: Channel, opened: Open, state: CallState) -> Kept:
    """Return what a conversation calls."""
    if opened.fresh:
        return FreshInstances(runner, opened)
    if opened.memories is not None:
        return KeptComponent(runner, channel, opened, opened.memories, state)
    return KeptCore(runner, channel, opened, state)
