"""Where compile workers come from: a zygote that is started with the first compile, and again when it has ended."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from hibana_server.sandbox.zygote import Born, Zygote, ZygoteGone


def _execute(control: int) -> subprocess.Popen[bytes]:
    """Start the zygote of compile workers with its end of the control socket. Raises OSError."""
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        # -S, -s and -P keep site-packages hooks, the user's packages and the directory at hand out.
        [sys.executable, "-S", "-s", "-P", "-m", "hibana_server.sandbox.compiler", str(control)],
        pass_fds=(control,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if os.path.isabs(entry))},
        cwd="/",
        # Ctrl-C in the terminal is for the front alone. A group and not a session of its own: where the kernel
        # shares processors between sessions (autogroup), SCHED_IDLE would yield to nobody outside of it.
        process_group=0,
    )


class CompileSource:
    """Makes compile workers. Use it on one event loop."""

    def __init__(self) -> None:
        self._zygote: Zygote | None = None

    async def fork(self, job: bytes, descriptors: Sequence[int]) -> Born:
        """Fork a worker for a job, in a new zygote where the one there was has ended. Raises ZygoteGone, OSError."""
        try:
            return await self._here().spawn(job, descriptors)
        except ZygoteGone:
            return await self._here().spawn(job, descriptors)

    async def stop(self) -> None:
        """End the zygote and every worker."""
        zygote, self._zygote = self._zygote, None
        if zygote is not None:
            await zygote.stop()

    def _here(self) -> Zygote:
        if self._zygote is None:
            self._zygote = Zygote(_execute, self._gone)
        return self._zygote

    def _gone(self) -> None:
        self._zygote = None
