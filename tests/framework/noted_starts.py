"""Run `hibana-server` with every start of a guest noted: `python -m tests.framework.noted_starts FILE COMMAND...`.

What a guest did cannot be taken back; this is its side effect that survives everything. The line is in the file before
the sandbox is told, so that a crash in between leaves one start too many, never one too few.
"""

from __future__ import annotations

import os
import sys

from hibana_server import cli
from hibana_server.domain.sandboxes import Job, RunSink
from hibana_server.sandbox.worker_process import WorkerProcess


def main() -> None:
    """Note every start from now on and become the server."""
    notes = os.open(sys.argv[1], os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    start = WorkerProcess.start

    def noted(self: WorkerProcess, job: Job, sink: RunSink) -> None:
        os.write(notes, f"{' '.join(map(str, (*job.argv, *job.arguments)))}\n".encode())
        start(self, job, sink)

    WorkerProcess.start = noted  # type: ignore[method-assign]
    sys.argv = sys.argv[2:]
    cli.main()


if __name__ == "__main__":
    main()
