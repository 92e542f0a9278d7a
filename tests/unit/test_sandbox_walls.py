"""The walls as data: rules that do not contradict each other, words that fit, a program for this very process."""

from __future__ import annotations

import errno
import struct

import pytest

from hibana_server.sandbox.walls import landlock, seccomp, system_calls
from hibana_server.sandbox.walls.system_calls import OWN_PROCESS

FORBIDDEN = {
    *("execve", "execveat", "fork", "vfork", "ptrace", "kill", "tkill", "socket", "connect", "bind", "pidfd_open"),
    *("process_vm_readv", "process_vm_writev", "bpf", "io_uring_setup", "userfaultfd", "keyctl", "mount", "unshare"),
    *("memfd_create", "sendmsg", "recvmsg", "setns", "unlinkat", "renameat2"),
}


def test_no_call_is_both_allowed_and_fatal() -> None:
    allowed, conditioned = set(system_calls.ALLOWED), {name for name, _ in system_calls.ALLOWED_WITH}
    fatal = set(system_calls.FATAL)
    assert len(allowed) == len(system_calls.ALLOWED)
    assert len(fatal) == len(system_calls.FATAL)
    # A rule without conditions would swallow one with conditions.
    assert not allowed & fatal
    assert not conditioned & (allowed | fatal)
    assert not {name for name, _ in (*system_calls.FATAL_WITH, *system_calls.DENIED_WITH)} & (allowed | fatal)


def test_what_must_never_be_allowed_is_fatal() -> None:
    assert set(system_calls.FATAL) >= FORBIDDEN


@pytest.mark.needs_seccomp
def test_the_filter_is_a_program_the_kernel_takes() -> None:
    program = seccomp.compile_filter()
    assert program
    assert len(program) % 8 == 0
    assert len(program) // 8 <= 4096


@pytest.mark.needs_seccomp
def test_every_call_is_known_to_the_library() -> None:
    library = seccomp._library()
    names = {*system_calls.ALLOWED, *system_calls.FATAL, *(name for name, _ in system_calls.ALLOWED_WITH)}
    newest = {"futex_wait", "futex_wake", "getrlimit"}  # releases of the library before 2.6 do not know all of them
    unknown = {name for name in names if library.seccomp_syscall_resolve_name(name.encode()) == -1}
    assert unknown <= newest


def test_the_placeholder_becomes_the_process_where_it_is_compared() -> None:
    equal, load = 0x15, 0x20
    before = [(equal, 1, 2, OWN_PROCESS), (load, 0, 0, OWN_PROCESS), (equal, 0, 0, 7), (equal, 3, 4, OWN_PROCESS)]
    program = b"".join(struct.pack("=HBBI", *each) for each in before)
    after = list(struct.iter_unpack("=HBBI", seccomp._for_process(program, 4321)))
    assert after == [(equal, 1, 2, 4321), (load, 0, 0, OWN_PROCESS), (equal, 0, 0, 7), (equal, 3, 4, 4321)]


@pytest.mark.needs_seccomp
def test_the_placeholder_is_in_the_real_program_and_goes() -> None:
    program = seccomp.compile_filter()
    placeholder = struct.pack("=I", OWN_PROCESS)
    assert placeholder in program
    assert placeholder not in seccomp._for_process(program, 4321)


@pytest.mark.parametrize(
    ("abi", "denied"),
    [
        (1, "files"),
        (3, "files"),
        (4, "files, TCP"),
        (5, "files, TCP, devices"),
        (7, "files, TCP, devices, signals and abstract sockets"),
        (10, "files, TCP, devices, signals and abstract sockets, UDP"),
    ],
)
def test_what_landlock_denies_in_words(abi: int, denied: str) -> None:
    assert landlock.covers(abi) == denied


@pytest.mark.parametrize(
    ("error", "step"),
    [(errno.ENOSYS, "kernel from 5.13"), (errno.EOPNOTSUPP, "lsm="), (errno.EPERM, "seccomp profile")],
)
def test_what_brings_landlock(error: int, step: str) -> None:
    assert step in landlock.hint(OSError(error, "told"))
