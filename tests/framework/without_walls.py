"""Run a command as on a machine that lacks walls: `python -m tests.framework.without_walls NAMES COMMAND...`.

NAMES (landlock, seccomp; commas between them) are taken away the way older container runtimes do it: by a filter
that answers their system calls with an error. The command and all of its children live under it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from typing import Any

from hibana_server.sandbox.walls import process, seccomp
from hibana_server.sandbox.walls.kernel import PR_SET_SECCOMP
from hibana_server.sandbox.walls.system_calls import ALL, Bits

DENIALS = {
    "landlock": (("landlock_create_ruleset", errno.EPERM, ()),),
    "seccomp": (("prctl", errno.EINVAL, (Bits(0, ALL, PR_SET_SECCOMP),)), ("seccomp", errno.ENOSYS, ())),
}


def main() -> None:
    """Raise the filter and become the command."""
    names, command = sys.argv[1].split(","), sys.argv[2:]
    library: Any = seccomp._library()
    rules = library.seccomp_init(seccomp._ALLOW)
    for name in names:
        for call, error, conditions in DENIALS[name]:
            seccomp._add(library, rules, seccomp._ERRNO | error, call, conditions)
    process.give_up_rights()
    library.seccomp_load.argtypes = (ctypes.c_void_p,)
    seccomp._check(library.seccomp_load(rules), "load")
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
