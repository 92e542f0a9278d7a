"""Confine the compile worker before it reads hostile bytes."""

from __future__ import annotations

import os
import resource

from hibana_server.sandbox.compile_frames import CompileRequest
from hibana_server.sandbox.giving_way import GivingWay
from hibana_server.sandbox.walls.process import die_with_parent, give_up_rights, limit
from hibana_server.sandbox.walls.walls import Walls

_OPEN_FILES = 64


def raise_walls(request: CompileRequest, walls: Walls) -> None:
    """Bind this process to its parent's life, bound what it uses, and leave it its open descriptors. Cannot be undone.

    Its input and output are open already, so the file system is closed to it altogether, where there are
    `walls` for that. Raises OSError, and then the process must end.
    """
    die_with_parent(request.parent_pid)
    give_up_rights()
    # Uploads compile when calls leave the processor idle.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    GivingWay().begin()
    limit(
        {
            # At the soft limit SIGXCPU ends the process and so tells the reason; the hard one is the kernel's SIGKILL.
            resource.RLIMIT_CPU: (request.cpu_seconds, request.cpu_seconds + 1),
            resource.RLIMIT_AS: request.address_space_bytes,
            resource.RLIMIT_FSIZE: request.output_bytes,
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_NOFILE: _OPEN_FILES,
        }
    )
    walls.close(None)
