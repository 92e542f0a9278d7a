"""The zygote of compile workers: `python -m hibana_server.sandbox.compiler FD`, started by the front only.

It has loaded the engine and the gate, which takes thirty times as long as to compile a small module, and forks a
worker for each job. A job comes with two pipes, for the answer and for stderr, before its own descriptors. The answer
is MessagePack, once. Exit status 0 means that an answer was written, ENOSPC_STATUS that the disk is full; any other
end is the front's to interpret.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import traceback
from collections.abc import Sequence

from hibana_server.sandbox.compile_frames import ENOSPC_STATUS, decode_request, encode_answer, out_of_memory
from hibana_server.sandbox.compiler.job import run
from hibana_server.sandbox.compiler.walls import raise_walls
from hibana_server.sandbox.forking import HELD_BACK, Forking
from hibana_server.sandbox.walls.process import close_everything_but
from hibana_server.sandbox.walls.walls import offered


class CompileZygote(Forking):
    """Forks compile workers."""

    def __init__(self, control: socket.socket) -> None:
        super().__init__(control)
        self._walls, _ = offered()

    def become(self, job: bytes, descriptors: Sequence[int]) -> None:
        """Compile one module."""
        answer, errors, *files = descriptors
        close_everything_but(*descriptors)
        # Nothing but the answer may reach the front's pipe: whatever a library prints goes to stderr.
        for standard in (1, 2):
            os.dup2(errors, standard)
        os.close(errors)
        status = 1
        try:
            status = self._compile(job, answer, files)
        except Exception:  # noqa: BLE001 - the front logs what stderr holds
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            # Freeing a large module takes longer than leaving; the kernel takes everything back.
            os._exit(status)

    def _compile(self, job: bytes, answer_fd: int, files: Sequence[int]) -> int:
        request = decode_request(job).received(files, self._pid)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
        raise_walls(request, self._walls)
        try:
            answer = run(request)
        except MemoryError:
            answer = out_of_memory(request.address_space_bytes)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                return ENOSPC_STATUS
            raise
        data = encode_answer(answer)
        while data:
            data = data[os.write(answer_fd, data) :]
        return 0


if __name__ == "__main__":
    CompileZygote(socket.socket(fileno=int(sys.argv[1]))).run()
