"""A zygote whose workers carry out attacks instead of jobs: `python -m tests.framework.attacking_zygote FD WALLS`.

Everything up to the point where a worker begins to serve is the product's own. From there on it is native code
in the hands of an attacker: it makes the system calls it is told to make, by number, past every library.
WALLS names the walls that depend on the kernel and are raised, with commas between them.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import mmap
import os
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from hibana_server.sandbox.worker import zygote

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
secret = ctypes.create_string_buffer(b"a secret of another caller")


def system_call(number: int, *arguments: Any) -> list[int]:
    """Make a system call; text is passed as a string, a list of two as a buffer: its size, filled with text."""
    kept = [_argument(each) for each in arguments]
    result = libc.syscall(ctypes.c_long(number), *kept)
    return [result, ctypes.get_errno() if result == -1 else 0]


def _argument(given: Any) -> Any:
    if isinstance(given, int):
        return ctypes.c_long(given)
    if isinstance(given, str):
        return given.encode()
    return ctypes.create_string_buffer(bytes.fromhex(given[0]), given[1])


def read_other(number: int, process: int, address: int) -> list[int]:
    """Read memory of another process by process_vm_readv."""
    found = ctypes.create_string_buffer(16)
    here = (ctypes.c_uint64 * 2)(ctypes.addressof(found), 16)
    there = (ctypes.c_uint64 * 2)(address, 16)
    result = libc.syscall(number, process, here, ctypes.c_long(1), there, ctypes.c_long(1), ctypes.c_long(0))
    return [result, ctypes.get_errno() if result == -1 else 0]


def connect(family: int, address: Any) -> list[int]:
    """Connect to somebody who listens."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.connect(address if isinstance(address, str) else tuple(address))
    except OSError as error:
        return [-1, error.errno or 0]
    return [0, 0]


def native(code: str) -> int:
    """Run machine code."""
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes.fromhex(code))
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    return int(function())


def in_thread(number: int, *arguments: Any) -> list[int]:
    """Make a system call in a thread of its own."""
    answers: list[list[int]] = []
    thread = threading.Thread(target=lambda: answers.append(system_call(number, *arguments)))
    thread.start()
    thread.join()
    return answers[0]


ATTACKS: dict[str, Callable[..., Any]] = {
    "system_call": system_call,
    "in_thread": in_thread,
    "read_other": read_other,
    "connect": connect,
    "native": native,
    "address": lambda: ctypes.addressof(secret),
    "environment": lambda: dict(os.environ),
    "abort": os.abort,
}


def attack(channel: socket.socket, *_: object) -> None:
    """Carry out one attack after the other, each a line of JSON, as long as the process lives."""
    with channel.makefile("rw", encoding="utf-8") as lines:
        for line in lines:
            name, *arguments = json.loads(line)
            lines.write(json.dumps(ATTACKS[name](*arguments)) + "\n")
            lines.flush()


class AttackingZygote(zygote.Zygote):
    """The product's zygote with some of its walls."""

    def __init__(self, control: socket.socket, walls: list[str]) -> None:
        super().__init__(control)
        if "landlock" not in walls:
            self._walls = dataclasses.replace(self._walls, landlock=0)
        if "seccomp" not in walls:
            self._walls = dataclasses.replace(self._walls, filter=b"")


if __name__ == "__main__":
    vars(zygote)["serve"] = attack
    zygote.prepare()
    AttackingZygote(socket.socket(fileno=int(sys.argv[1])), sys.argv[2].split(",")).run()
