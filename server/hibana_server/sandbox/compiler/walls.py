"""Confine the compile worker before it reads hostile bytes."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

from hibana_server.sandbox.compile_frames import CompileRequest

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


def raise_walls(request: CompileRequest) -> None:
    """Bind this process to its parent's life and bound its CPU time, memory and output. Cannot be undone."""
    libc = ctypes.CDLL(None, use_errno=True)
    _prctl(libc, _PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != request.parent_pid:
        sys.exit(1)  # the parent ended before its death could be announced
    _prctl(libc, _PR_SET_NO_NEW_PRIVS, 1)
    # Uploads compile when calls leave the processor idle.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    # At the soft limit SIGXCPU ends the process and so tells the reason; the hard one is the kernel's SIGKILL.
    _limit(resource.RLIMIT_CPU, request.cpu_seconds, request.cpu_seconds + 1)
    _limit(resource.RLIMIT_AS, request.address_space_bytes)
    _limit(resource.RLIMIT_FSIZE, request.output_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, 64)


def _prctl(libc: ctypes.CDLL, option: int, value: int) -> None:
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")


def _limit(kind: int, soft: int, hard: int | None = None) -> None:
    _, ceiling = resource.getrlimit(kind)
    wanted = soft if hard is None else hard
    if ceiling != resource.RLIM_INFINITY:
        wanted = min(wanted, ceiling)
    resource.setrlimit(kind, (min(soft, wanted), wanted))
