"""Confines a worker before it serves: what a guest that broke out of the engine could still do."""

from __future__ import annotations

import ctypes
import os
import resource
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_OPEN_FILES = 320
"""One for each module a worker holds (`module_cache.MAX_MODULES`), and a few."""


def die_with_parent(parent: int) -> None:
    """Have the kernel end this process with its parent. Exits when the parent is gone already."""
    libc = ctypes.CDLL(None, use_errno=True)
    _prctl(libc, _PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def close_everything_but(keep: int) -> None:
    """Close every descriptor but this one; standard streams lead nowhere afterwards."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        if descriptor > 2 and descriptor != keep:
            try:
                os.close(descriptor)
            except OSError:
                continue  # the one that listed the directory


def confine(data_bytes: int) -> None:
    """Take away what a worker never needs. Cannot be undone.

    `data_bytes` bounds private writable memory (RLIMIT_DATA); address space cannot be bounded,
    because the engine reserves gigabytes that it never touches.
    """
    _prctl(ctypes.CDLL(None, use_errno=True), _PR_SET_NO_NEW_PRIVS, 1)
    for kind, value in (
        (resource.RLIMIT_DATA, data_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
    ):
        _, ceiling = resource.getrlimit(kind)
        bound = value if ceiling == resource.RLIM_INFINITY else min(value, ceiling)
        resource.setrlimit(kind, (bound, bound))
    os.environ.clear()
    # The engine's WASI brings a thread pool as large as the machine; one guest at a time needs one thread.
    os.environ["TOKIO_WORKER_THREADS"] = "1"


def _prctl(libc: ctypes.CDLL, option: int, value: int) -> None:
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")
