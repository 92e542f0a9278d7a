"""A worker's life: read a job, run it, answer, again."""

from __future__ import annotations

import socket
import threading

from hibana_server.sandbox.frames import Broken, Closed, Done, NewWorker, Open, Run
from hibana_server.sandbox.worker.channel import Channel, ChannelClosed
from hibana_server.sandbox.worker.conversation import Conversation
from hibana_server.sandbox.worker.engine import Engines
from hibana_server.sandbox.worker.native import give_back_memory
from hibana_server.sandbox.worker.own_memory import OwnMemory
from hibana_server.sandbox.worker.runner import Runner

_STACK_BYTES = 2 * 1024 * 1024
"""Stack of the guest's thread: four times what the engine gives a guest, and far more than the interpreter needs."""
_LONGEST_REASON = 500


class _Life:
    """What goes on from one guest's thread to the next."""

    def __init__(self, channel: Channel, runner: Runner) -> None:
        self.channel = channel
        self.runner = runner
        self.conversation: Conversation | None = None
        """There where the worker is leased and not for one job."""
        self.last: Done | Closed | None = None
        """What is left to say after the last step."""
        self._had_files = False
        self.error: Exception | None = None
        self.over = False

    def tell(self) -> None:
        """Say what is left to say."""
        if self.last is not None:
            self.channel.send(self.last)
            if self._had_files:
                give_back_memory()

    def step(self) -> Done | Closed | None:
        """Serve a job, or the next call of a conversation; returns what is left to say. Raises ChannelClosed."""
        if self.conversation is not None:
            closed = self.conversation.step()
            if closed is not None:
                self.conversation = None
            return closed
        frame = self.channel.receive()
        if type(frame) is Run:
            self._had_files = frame.directory is not None
            return self.runner.run(frame)
        if isinstance(frame, Open):
            self.conversation = Conversation(self.channel, self.runner, frame)
            return None
        raise ChannelClosed


class _GuestThread(threading.Thread):
    """Runs jobs until the front closes the channel, or until it was demoted.

    A thread that went to SCHED_IDLE in a long call cannot come back from there without a privilege. So
    it ends after that call, and the worker's main thread, which was never demoted, starts another. That one tells the
    end of the call: who is given the worker next must not wait until a demoted thread gets a processor.
    """

    def __init__(self, life: _Life) -> None:
        super().__init__(name="guest")
        self._life = life

    def run(self) -> None:
        """Serve jobs."""
        life = self._life
        try:
            deadline = life.runner.deadline
            deadline.demoted = False
            while not deadline.demoted:
                life.tell()
                life.last = life.step()
            deadline.giving_way.end()
        except ChannelClosed:
            life.over = True
        except Exception as error:  # noqa: BLE001 - told and raised by `serve`
            # A defect, or no memory left. The front logs it, and nobody gets a worker in an unknown state.
            life.error = error
            life.channel.send(Broken(f"{type(error).__name__}: {error}"[:_LONGEST_REASON]))


def serve(sock: socket.socket, engines: Engines, worker: NewWorker, own: OwnMemory) -> None:
    """Run jobs until the front closes the channel."""
    threading.stack_size(_STACK_BYTES)
    channel = Channel(sock)
    life = _Life(channel, Runner(engines, worker.cache_bytes, channel.send, own))
    while True:
        thread = _GuestThread(life)
        thread.start()
        thread.join()
        if life.error is not None:
            raise life.error
        if life.over:
            return
