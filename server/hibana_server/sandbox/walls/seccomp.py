"""seccomp: which system calls the kernel still carries out for a process that confined itself.

The filter is compiled by libseccomp, the library that container runtimes and service managers use, and exported
as a program of the kernel's small machine. That takes milliseconds and happens once; loading the program into a
process takes one system call.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable
from typing import Any, Final

from hibana_server.sandbox.walls import system_calls
from hibana_server.sandbox.walls.kernel import PR_SET_SECCOMP, prctl
from hibana_server.sandbox.walls.system_calls import OWN_PROCESS, Bits

LIBRARY: Final = "libseccomp.so.2"
MACHINES: Final = frozenset({"x86_64", "aarch64"})
"""Where `clone` takes its flags first, as the rules have it."""

_FILTER_MODE = 2
_KILL_PROCESS = 0x8000_0000
_ALLOW = 0x7FFF_0000
_ERRNO = 0x0005_0000
_ACTION_OF_OTHER_MACHINES, _OPTIMIZE = 2, 8
_BINARY_TREE = 2
_MASKED_EQUAL = 7
_UNKNOWN_CALL = -1

_INSTRUCTION = struct.Struct("=HBBI")
_JUMP_IF_EQUAL = 0x15
_PLACEHOLDER = struct.pack("=I", OWN_PROCESS)


class SeccompError(Exception):
    """The library is missing or did not take the rules; the text says what."""


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("mask", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def compile_filter() -> bytes:
    """Build the program of `system_calls`. Raises SeccompError where that or the kernel lacks something."""
    if platform.machine() not in MACHINES:
        raise SeccompError(f"there are no rules for {platform.machine()}")
    _check_kernel()
    library = _library()
    rules = library.seccomp_init(_ERRNO | errno.ENOSYS)
    if not rules:
        raise SeccompError("libseccomp made no filter")
    try:
        # Calls by another machine's numbers (32-bit, x32) would mean something else than the rules say.
        _check(library.seccomp_attr_set(rules, _ACTION_OF_OTHER_MACHINES, _KILL_PROCESS), "other machines")
        # A shorter way through the rules; releases before 2.5 have only the long one.
        library.seccomp_attr_set(rules, _OPTIMIZE, _BINARY_TREE)
        for names, action in ((system_calls.FATAL, _KILL_PROCESS), (system_calls.ALLOWED, _ALLOW)):
            for name in names:
                _add(library, rules, action, name, ())
        for conditioned, action in (
            (system_calls.FATAL_WITH, _KILL_PROCESS),
            (system_calls.DENIED_WITH, _ERRNO | errno.EPERM),
            (system_calls.ALLOWED_WITH, _ALLOW),
        ):
            for name, conditions in conditioned:
                _add(library, rules, action, name, conditions)
        return _export(library, rules)
    finally:
        library.seccomp_release(rules)


def hint() -> str:
    """Say what brings seccomp to a machine where `compile_filter` failed."""
    if platform.machine() not in MACHINES:
        return f"Run on one of {', '.join(sorted(MACHINES))}."
    return (
        "Install the C library (apt-get install libseccomp2, dnf install libseccomp, or apk add libseccomp), and run "
        "a kernel with CONFIG_SECCOMP_FILTER."
    )


def load(program: bytes) -> None:
    """Put this thread, and every thread it starts, under a program. Cannot be undone.

    Wants no_new_privs. Raises OSError.
    """
    own = _for_process(program, os.getpid())
    buffer = ctypes.create_string_buffer(own, len(own))
    filled = _Program(len(own) // _INSTRUCTION.size, ctypes.addressof(buffer))
    prctl(PR_SET_SECCOMP, _FILTER_MODE, ctypes.addressof(filled))


def _for_process(program: bytes, process: int) -> bytes:
    """Put a process id where the program compares with `OWN_PROCESS`."""
    own = bytearray(program)
    at = own.find(_PLACEHOLDER)
    while at >= 0:
        code, _, _, value = _INSTRUCTION.unpack_from(own, at - at % _INSTRUCTION.size)
        if (code, value) == (_JUMP_IF_EQUAL, OWN_PROCESS):
            struct.pack_into("=I", own, at, process)
        at = own.find(_PLACEHOLDER, at + 1)
    return bytes(own)


def _check_kernel() -> None:
    try:
        prctl(PR_SET_SECCOMP, _FILTER_MODE)
    except OSError as error:
        # EFAULT complains of the program that is not there, so filters as such are known.
        if error.errno != errno.EFAULT:
            raise SeccompError(f"the kernel takes no filters ({error.strerror})") from None


def _library() -> Any:
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        raise SeccompError(f"{LIBRARY} is not installed") from None
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = (ctypes.c_uint32,)
    library.seccomp_attr_set.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32)
    library.seccomp_syscall_resolve_name.argtypes = (ctypes.c_char_p,)
    library.seccomp_rule_add_array.argtypes = (
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(_Comparison),
    )
    library.seccomp_export_bpf.argtypes = (ctypes.c_void_p, ctypes.c_int)
    library.seccomp_release.argtypes = (ctypes.c_void_p,)
    library.seccomp_release.restype = None
    return library


def _add(library: Any, rules: Any, action: int, name: str, conditions: Iterable[Bits]) -> None:
    number = library.seccomp_syscall_resolve_name(name.encode())
    if number == _UNKNOWN_CALL:
        return  # newer than the library: answered like everything that is not named
    compared = [_Comparison(each.argument, _MASKED_EQUAL, each.mask, each.value) for each in conditions]
    array = (_Comparison * len(compared))(*compared)
    _check(library.seccomp_rule_add_array(rules, action, number, len(compared), array), name)


def _export(library: Any, rules: Any) -> bytes:
    with os.fdopen(os.memfd_create("filter"), "w+b", buffering=0) as file:
        _check(library.seccomp_export_bpf(rules, file.fileno()), "export")
        file.seek(0)
        program = file.read()
    if not program or len(program) % _INSTRUCTION.size:
        raise SeccompError("libseccomp exported no program")
    return program


def _check(result: int, what: str) -> None:
    if result != 0:
        raise SeccompError(f"libseccomp refused {what}: {os.strerror(-result)}")
