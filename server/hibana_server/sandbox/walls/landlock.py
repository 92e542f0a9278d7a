"""Landlock: what is left of the file system, the network and other processes to a process that confined itself.

A ruleset names the rights it handles; every handled right is refused, except where a rule grants it. Rights
that came with later releases of the kernel are handled where the kernel knows them. Source: the kernel's
documentation, userspace-api/landlock.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from dataclasses import dataclass
from typing import Final

from hibana_server.sandbox.walls.kernel import system_call

# The same numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_WANT_VERSION = 1
_PATH_BENEATH = 1
_RULESET = struct.Struct("=QQQ")  # handled file system rights, handled network rights, scopes
_BENEATH = struct.Struct("=Qi")  # granted rights, descriptor; packed

_READ_FILE = 1 << 2


@dataclass(frozen=True, slots=True)
class _Release:
    """Rights and scopes that the kernel knows from one ABI on."""

    abi: int
    files: int = 0
    network: int = 0
    scopes: int = 0


_RELEASES: Final = (
    _Release(1, files=(1 << 13) - 1),  # execute, write, read, list, remove, make
    _Release(2, files=1 << 13),  # link or rename to another directory
    _Release(3, files=1 << 14),  # truncate
    _Release(4, network=0b11),  # TCP: bind, connect
    _Release(5, files=1 << 15),  # ioctl on devices
    _Release(6, scopes=0b11),  # abstract UNIX sockets and signals of processes outside
    _Release(9, files=1 << 16),  # UNIX sockets by path
    _Release(10, network=0b1100),  # UDP: bind; connect and send
)


def abi() -> int:
    """Return the ABI the kernel offers, at least 1. Raises OSError where it offers none."""
    return system_call(_CREATE_RULESET, None, 0, _WANT_VERSION)


def hint(error: OSError) -> str:
    """Say what brings Landlock to a machine that answered `abi` with this error."""
    if error.errno == errno.EOPNOTSUPP:
        return "Landlock is built into the kernel and switched off: add landlock to the kernel parameter lsm=."
    if error.errno == errno.EPERM:
        return (
            "The container forbids it: allow landlock_create_ruleset, landlock_add_rule and landlock_restrict_self "
            "in its seccomp profile."
        )
    return "Run a kernel from 5.13 on (6.12 to have all of it), built with CONFIG_SECURITY_LANDLOCK."


def covers(offered: int) -> str:
    """Say in words what an ABI denies."""
    denied = ["files"]
    denied += ["TCP"] if offered >= 4 else []
    denied += ["devices"] if offered >= 5 else []
    denied += ["signals and abstract sockets"] if offered >= 6 else []
    denied += ["UDP"] if offered >= 10 else []
    return ", ".join(denied)


def restrict(offered: int, readable: str | None) -> None:
    """Refuse this process everything that `offered` can, except reading files below `readable`. Cannot be undone.

    Wants no_new_privs. Reading a file by its name is all that is granted: directories cannot be listed. Only
    the calling thread and what it starts are confined. Raises OSError.
    """
    ruleset = _create(offered)
    try:
        if readable is not None:
            _grant_reading(ruleset, readable)
        system_call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _create(offered: int) -> int:
    try:
        return _create_handling(offered)
    except OSError as error:
        # What the newest releases really call a right is the kernel's word against this table's.
        if error.errno != errno.EINVAL or offered <= 6:
            raise
        return _create_handling(6)


def _create_handling(offered: int) -> int:
    known = [each for each in _RELEASES if each.abi <= offered]
    files = network = scopes = 0
    for each in known:
        files, network, scopes = files | each.files, network | each.network, scopes | each.scopes
    # Older kernels take a longer structure as long as what they do not know is zero.
    attributes = ctypes.create_string_buffer(_RULESET.pack(files, network, scopes), _RULESET.size)
    return system_call(_CREATE_RULESET, attributes, _RULESET.size, 0)


def _grant_reading(ruleset: int, directory: str) -> None:
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        rule = ctypes.create_string_buffer(_BENEATH.pack(_READ_FILE, descriptor), _BENEATH.size)
        system_call(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)
