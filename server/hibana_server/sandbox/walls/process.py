"""What every confined process gets on any kernel: a bounded life, no descriptors, no rights, limits."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Mapping

from hibana_server.sandbox.walls.kernel import PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, drop_capabilities, prctl


def die_with_parent(parent: int) -> None:
    """Have the kernel end this process with its parent. Exits when the parent is gone already."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def close_everything_but(*keep: int) -> None:
    """Close every descriptor but these; standard streams lead nowhere afterwards."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        if descriptor > 2 and descriptor not in keep:
            try:
                os.close(descriptor)
            except OSError:
                continue  # the one that listed the directory


def give_up_rights() -> None:
    """Never gain rights by executing a program, and drop the capabilities a server started as root has.

    Raises OSError.
    """
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    drop_capabilities()


def limit(limits: Mapping[int, int | tuple[int, int]]) -> None:
    """Lower resource limits: a kind of `resource` to its bound, or to a soft and a hard one. Raises OSError.

    The number of processes is not among them: it counts all processes and threads of the user, so a bound
    that stops a worker would stop the server, and whatever else runs as its user, first.
    """
    for kind, wanted in limits.items():
        soft, hard = wanted if isinstance(wanted, tuple) else (wanted, wanted)
        _, ceiling = resource.getrlimit(kind)
        if ceiling != resource.RLIM_INFINITY:
            hard = min(hard, ceiling)
        resource.setrlimit(kind, (min(soft, hard), hard))
