"""Find out which walls stand here, by raising each in a child process and running against it.

`python -m hibana_server.sandbox.walls.survey` prints the answer as JSON, for `hibana-server doctor`.
"""

from __future__ import annotations

import errno
import mmap
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from hibana_server.sandbox.walls import landlock, process
from hibana_server.sandbox.walls.kernel import PR_GET_NO_NEW_PRIVS, prctl
from hibana_server.sandbox.walls.walls import Walls, offered
from hibana_server.sandbox.zygote_frames import Wall

_LONGEST = 300
_NEWER_KERNEL = "Run a kernel from 6.12 on to have signals and abstract sockets denied by Landlock too."
_WITHOUT_FILTER = "Run a kernel with CONFIG_SECCOMP_FILTER, in a container that lets processes filter themselves."
_DEFECT = "Report this with the output of `hibana-server doctor --json`."


class _Fallen(Exception):
    """A wall did not hold; the text says against what."""


@dataclass(frozen=True, slots=True)
class _Trial:
    """What became of a child that raised a wall and ran against it."""

    held: bool
    words: str
    signal: int = 0


def survey() -> tuple[Walls, tuple[Wall, ...]]:
    """Return the walls to raise, and what is to be told of all of them.

    Forks, so the process must have one thread only. A wall that does not hold in the trial is not raised.
    """
    walls, missing = offered()
    told = [
        _tell("no_new_privs", _try(_try_rights), "no new privileges, no capabilities", _DEFECT),
        _tell("rlimits", _try(_try_limits), "resource limits can be lowered", _DEFECT),
    ]
    abi, program = walls.landlock, walls.filter
    if abi:
        fix = "" if abi >= 6 else _NEWER_KERNEL
        wall = _tell("landlock", _try(lambda: _try_landlock(abi)), f"ABI {abi}: denies {landlock.covers(abi)}", fix)
        abi = abi if wall.stands else 0
        told.append(wall)
    if program:
        trial = _try(lambda: _try_filter(program))
        if trial.held:
            trial = _judge_fork(_try(lambda: _try_fork(program)))
        wall = _tell("seccomp", trial, "an allow-list of system calls; forks and sockets end the process", "")
        program = program if wall.stands else b""
        told.append(wall if wall.stands else msgspec.structs.replace(wall, fix=_WITHOUT_FILTER))
    told += [Wall(name, stands=False, detail=each.detail, fix=each.fix) for name, each in missing.items()]
    return Walls(abi, program), tuple(told)


def _tell(name: str, trial: _Trial, detail: str, fix: str) -> Wall:
    if trial.held:
        return Wall(name, stands=True, detail=detail, fix="" if fix is _DEFECT else fix)
    silent = f"its trial ended with signal {trial.signal}" if trial.signal else "its trial gave no answer"
    return Wall(name, stands=False, detail=trial.words or silent, fix=fix or _DEFECT)


def _try(attempt: Callable[[], None]) -> _Trial:
    """Run an attempt in a child process."""
    answer, told = os.pipe()
    child = os.fork()
    if child == 0:
        _attempt(attempt, told)
    os.close(told)
    with os.fdopen(answer, "rb") as file:
        words = file.read(_LONGEST).decode("utf-8", "replace")
    _, status = os.waitpid(child, 0)
    ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    return _Trial(status == 0, words, ended_by)


def _attempt(attempt: Callable[[], None], told: int) -> None:
    """Run in the child, which ends here."""
    status = 1
    try:
        process.give_up_rights()
        process.limit({resource.RLIMIT_CORE: 0})  # an attempt that the kernel ends leaves no file behind
        attempt()
        status = 0
    except BaseException as error:  # noqa: BLE001 - whatever it was, the parent is to hear of it
        os.write(told, (str(error) or type(error).__name__).encode()[:_LONGEST])
    finally:
        os._exit(status)


def _try_rights() -> None:
    if prctl(PR_GET_NO_NEW_PRIVS) != 1:
        raise _Fallen("no_new_privs is not set")


def _try_limits() -> None:
    process.limit({resource.RLIMIT_DATA: 1 << 30, resource.RLIMIT_FSIZE: 0})
    if resource.getrlimit(resource.RLIMIT_FSIZE) != (0, 0):
        raise _Fallen("RLIMIT_FSIZE was not lowered")


def _try_landlock(abi: int) -> None:
    Walls(landlock=abi).close(None)
    for path, flags in ((sys.executable, os.O_RDONLY), ("/", os.O_RDONLY | os.O_DIRECTORY), (os.devnull, os.O_WRONLY)):
        _expect(errno.EACCES, path, flags)


def _try_filter(program: bytes) -> None:
    Walls(filter=program).close(None)
    _expect(errno.EPERM, os.devnull, os.O_WRONLY)
    # What workers live on has to go on: a library that needs other calls would otherwise end every one of them.
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_EXEC).close()
    os.close(os.open(os.devnull, os.O_RDONLY))


def _try_fork(program: bytes) -> None:
    Walls(filter=program).close(None)
    if os.fork() == 0:
        os._exit(0)


def _judge_fork(trial: _Trial) -> _Trial:
    if trial.signal == signal.SIGSYS:
        return _Trial(held=True, words="")
    return _Trial(held=False, words=trial.words or "a fork was let through")


def _expect(refusal: int, path: str, flags: int) -> None:
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno != refusal:
            raise
        return
    os.close(descriptor)
    raise _Fallen(f"{path} could be opened")


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(survey()[1]))
