"""Hostile code inside a compile worker: behind the real walls it has its one job's input and output, and no more."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.sandbox.compile_frames import CompileRequest

pytestmark = [pytest.mark.needs_landlock, pytest.mark.needs_seccomp]

WORKER = """
import json, os, socket, sys, threading
import msgspec
from hibana_server.sandbox.compile_frames import CompileRequest
from hibana_server.sandbox.compiler.walls import raise_walls
from hibana_server.sandbox.walls.walls import offered

request = msgspec.json.decode(sys.argv[1], type=CompileRequest)
raise_walls(request, offered()[0])
try:
    answer = eval(sys.argv[2])
except OSError as error:
    answer = [error.errno]
os.write(1, json.dumps(answer).encode())
"""


def attack(code: str, folder: Path) -> tuple[int, object]:
    """Evaluate an expression in a compile worker whose walls stand; return its exit status and what came out."""
    (folder / "wasm").write_bytes(b"input")
    with (folder / "wasm").open("rb") as wasm, (folder / "output").open("wb") as output:
        request = CompileRequest(
            wasm_fd=wasm.fileno(),
            output_fd=output.fileno(),
            sha256="",
            tier=Tier.USER,
            policy=DEFAULT_POLICIES[Tier.USER],
            parent_pid=os.getpid(),
            cpu_seconds=10,
            address_space_bytes=1536 << 20,
            output_bytes=64 << 20,
        )
        done = subprocess.run(
            [sys.executable, "-c", WORKER, msgspec.json.encode(request).decode(), code],
            pass_fds=(wasm.fileno(), output.fileno()),
            capture_output=True,
            check=False,
            cwd=folder,
            timeout=30,
        )
    return done.returncode, json.loads(done.stdout) if done.stdout else None


def test_its_input_and_its_output_are_open(tmp_path: Path) -> None:
    code = "[os.read(request.wasm_fd, 9).decode(), os.write(request.output_fd, b'made')]"
    assert attack(code, tmp_path) == (0, ["input", 4])
    assert (tmp_path / "output").read_bytes() == b"made"


@pytest.mark.parametrize(
    ("code", "refusal"),
    [
        ("os.open('/etc/passwd', os.O_RDONLY)", errno.EACCES),
        ("os.open('wasm', os.O_RDONLY)", errno.EACCES),
        ("os.open('output', os.O_RDONLY)", errno.EACCES),
        ("os.open('output', os.O_WRONLY)", errno.EPERM),
        ("os.open('new', os.O_WRONLY | os.O_CREAT)", errno.EPERM),
        ("os.open('.', os.O_RDONLY)", errno.EACCES),
        ("os.open(f'/proc/{request.parent_pid}/mem', os.O_RDONLY)", errno.EACCES),
        ("os.listdir('/')", errno.EACCES),
        ("os.sched_setscheduler(request.parent_pid, os.SCHED_IDLE, os.sched_param(0))", errno.ENOSYS),
    ],
)
def test_nothing_else_is(tmp_path: Path, code: str, refusal: int) -> None:
    assert attack(code, tmp_path) == (0, [refusal])


@pytest.mark.parametrize(
    "code",
    [
        "socket.socket()",
        "socket.socketpair()",
        "os.fork()",
        "os.execv('/bin/true', ['true'])",
        "os.kill(request.parent_pid, 9)",
        "os.memfd_create('code')",
        "os.pidfd_open(request.parent_pid)",
        "os.unlink('wasm')",
        "os.setuid(0)",
    ],
)
def test_a_forbidden_call_ends_it(tmp_path: Path, code: str) -> None:
    assert attack(code, tmp_path) == (-signal.SIGSYS, None)
    assert (tmp_path / "wasm").exists()
