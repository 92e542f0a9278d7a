"""Compile one module: `python -m hibana_server.sandbox.compiler REQUEST`, started by the front only.

REQUEST is a `CompileRequest` as JSON. The answer goes to stdout, in MessagePack, once. Exit status 0 means that
an answer was written, ENOSPC_STATUS that the disk is full; any other end is the front's to interpret.
"""

from __future__ import annotations

import errno
import os
import sys

import msgspec

from hibana_server.sandbox.compile_frames import ENOSPC_STATUS, CompileRequest, encode_answer
from hibana_server.sandbox.compiler.job import out_of_memory, run
from hibana_server.sandbox.compiler.walls import raise_walls


def main() -> int:
    """Run the job in the arguments and return the exit status."""
    request = msgspec.json.decode(sys.argv[1], type=CompileRequest)
    # Nothing but the answer may reach the front's pipe: whatever a library prints goes to stderr.
    answer_fd = os.dup(1)
    os.dup2(2, 1)
    raise_walls(request)
    try:
        answer = run(request)
    except MemoryError:
        answer = out_of_memory(request)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return ENOSPC_STATUS
        raise
    data = encode_answer(answer)
    while data:
        data = data[os.write(answer_fd, data) :]
    # Freeing a large module takes longer than leaving; the kernel takes everything back.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
