"""Workers that attack, as the front would see them: start them, tell them what to do, hear what became of it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hibana_server.sandbox.frames import NewWorker
from hibana_server.sandbox.walls import seccomp
from hibana_server.sandbox.zygote_frames import Exited, Spawn, Spawned, Surveyed, Wall, encoder, zygote_decoder

ROOT = Path(__file__).parents[2]
SECONDS = 20.0
DATA_BYTES = 512 << 20


def number(name: str) -> int:
    """Return the number of a system call on this machine."""
    found: int = seccomp._library().seccomp_syscall_resolve_name(name.encode())
    assert found >= 0, name
    return found


def execute(control: int, walls: Sequence[str] = ("landlock", "seccomp")) -> subprocess.Popen[bytes]:
    """Start a zygote of attackers with its end of the control socket, as the front starts its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.framework.attacking_zygote", str(control), ",".join(walls)],
        pass_fds=(control,),
        cwd=ROOT,
        env={"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )


class Ended(Exception):
    """The worker ended; `signal` is what ended it, 0 for an exit of its own, and `status` the status of that."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        self.status = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None


class Attacker:
    """One worker."""

    def __init__(self, house: Attackers, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self._house = house
        self._channel = channel
        self._lines = channel.makefile(encoding="utf-8")

    def ask(self, name: str, *arguments: Any) -> Any:
        """Have an attack carried out and return its answer. Raises Ended."""
        answer = ""
        with suppress(BrokenPipeError, ConnectionResetError):  # it has ended
            self._channel.sendall(json.dumps([name, *arguments]).encode() + b"\n")
            answer = self._lines.readline()
        if not answer:
            raise Ended(self._house.end_of(self.pid))
        return json.loads(answer)

    def call(self, name: str, *arguments: Any) -> tuple[int, int]:
        """Make a system call there; return its result and its error number. Raises Ended."""
        result, error = self.ask("system_call", number(name), *arguments)
        return result, error

    def close(self) -> None:
        """Let it go."""
        self._lines.close()
        self._channel.close()


class Attackers:
    """A zygote and its attacking workers."""

    def __init__(self, *walls: str) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(SECONDS)
        with theirs:
            self._process = execute(theirs.fileno(), walls)
        self._workers: list[Attacker] = []
        self._ends: dict[int, int] = {}
        try:
            surveyed, _ = self._receive()
            assert isinstance(surveyed, Surveyed)
        except BaseException:
            self._control.close()
            self._process.wait()
            raise
        self.walls: tuple[Wall, ...] = surveyed.walls

    @property
    def pid(self) -> int:
        """Process id of the zygote."""
        return self._process.pid

    def worker(self, readable: Path | None = None) -> Attacker:
        """Fork a worker that may read files below a directory."""
        ours, theirs = socket.socketpair()
        ours.settimeout(SECONDS)
        with theirs:
            job = encoder.encode(NewWorker(DATA_BYTES, 0, None if readable is None else str(readable)))
            socket.send_fds(self._control, [encoder.encode(Spawn(1, job))], [theirs.fileno()])
        message, descriptors = self._receive()
        while isinstance(message, Exited):  # of one that ended before
            message, descriptors = self._receive()
        assert isinstance(message, Spawned)
        for each in descriptors:
            os.close(each)
        attacker = Attacker(self, message.pid, ours)
        self._workers.append(attacker)
        return attacker

    def end_of(self, pid: int) -> int:
        """Wait for the end of a worker and return its wait status."""
        while pid not in self._ends:
            self._receive()
        return self._ends[pid]

    def close(self) -> None:
        """End everything."""
        for worker in self._workers:
            worker.close()
        self._control.close()
        assert self._process.wait(SECONDS) == 0

    def _receive(self) -> tuple[Spawned | Exited | Surveyed, list[int]]:
        data, descriptors, _, _ = socket.recv_fds(self._control, 4096, 1)
        message = zygote_decoder.decode(data)
        if isinstance(message, Exited):
            self._ends[message.pid] = message.status
        return message, descriptors


@contextmanager
def attackers(*walls: str) -> Iterator[Attackers]:
    """Run a zygote with these walls until the context is left."""
    house = Attackers(*walls)
    try:
        yield house
    finally:
        house.close()


FORBIDDEN = int(signal.SIGSYS)
"""Signal that ends a process for a forbidden system call."""
