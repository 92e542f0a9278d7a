"""Processes as the kernel tells them: who descends from whom, and who is gone."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Iterable
from pathlib import Path


def command_line(pid: int) -> str:
    """Return the arguments of a process in one line; empty when it is gone or a zombie."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def descendants(pid: int) -> list[int]:
    """Return the children of a process, their children and so on, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (parent := _parent(int(entry.name))) is not None:
            children.setdefault(parent, []).append(int(entry.name))
    found, open_ = [], [pid]
    while open_:
        below = children.get(open_.pop(), [])
        found += below
        open_ += below
    return found


def wait_gone(pids: Iterable[int], seconds: float) -> list[int]:
    """Wait until all of these processes have ended and return those that have not.

    Processes of other parents are waited for too: a descriptor of a process becomes readable when it ends.
    """
    end = time.monotonic() + seconds
    left = []
    for pid in pids:
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
                left.append(pid)
        finally:
            os.close(descriptor)
    return left


def forked_from(pid: int, words: str) -> list[int]:
    """Return what was forked from the descendants that have these words in their command lines."""
    return [child for each in descendants(pid) if words in command_line(each) for child in descendants(each)]


def wait_for_forked(pid: int, words: str, seconds: float) -> list[int]:
    """Wait until there is something of that kind, and return it; nothing if it does not come in time.

    The kernel tells nobody of a new process, so this looks again and again.
    """
    end = time.monotonic() + seconds
    while True:
        found = forked_from(pid, words)
        if found or time.monotonic() > end:
            return found
        time.sleep(0.002)


def kill(pids: Iterable[int], number: int) -> None:
    """Send a signal to each of these processes that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _parent(pid: int) -> int | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name in parentheses may hold anything, blanks and parentheses too.
    state, parent = text[text.rindex(")") + 2 :].split()[:2]
    return None if state in "ZX" else int(parent)
