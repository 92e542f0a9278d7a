"""The system calls of a confined process, as data: what it may do, what ends it, and that the rest does not exist.

Found by tracing workers that ran every kind of guest, and compiles. Three answers:

- The listed calls are carried out, some only with the arguments that a worker uses.
- `FATAL` calls end the process. Neither interpreter, C library nor engine makes them after the walls stand, so
  whoever does has taken the process over. The front sees the end and replaces the worker.
- Everything else answers ENOSYS, as a kernel that does not know the call. C libraries try newer calls first and
  fall back on that answer; a filter that killed for an unknown call would break with the next release of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

OWN_PROCESS: Final = 0x7EFA_CADE
"""Stands for the id of the process a filter is loaded into; no process has a number as large."""


@dataclass(frozen=True, slots=True)
class Bits:
    """An argument, counted from 0, whose bits in `mask` must be `value`."""

    argument: int
    mask: int
    value: int


ALL: Final = (1 << 64) - 1


def _is(argument: int, value: int) -> Bits:
    return Bits(argument, ALL, value)


# Flags of clone: what every C library's thread has, and what none has.
_THREAD = 0x0001_0000 | 0x0000_0100 | 0x0000_0200 | 0x0000_0400 | 0x0000_0800  # THREAD, VM, FS, FILES, SIGHAND
_APART = 0x7E02_0080 | 0x0000_1000 | 0x0000_2000 | 0x0000_4000  # all namespaces; PIDFD, PTRACE, VFORK
_CLONE_THREAD = 0x0001_0000

_O_WRONLY, _O_RDWR, _O_CREAT, _O_TRUNC = 0o1, 0o2, 0o100, 0o1000
_O_WRITING = _O_WRONLY | _O_RDWR | _O_CREAT | _O_TRUNC
_AT_EMPTY_PATH = 0x1000
_MSG_NOSIGNAL = 0x4000
_PR_SET_NAME = 15
_CLOCK_MONOTONIC = 1
_F_DUPFD, _F_GETFD, _F_SETFD, _F_GETFL, _F_SETFL, _F_DUPFD_CLOEXEC = 0, 1, 2, 3, 4, 1030
_FIONBIO, _FIOCLEX = 0x5421, 0x5451
_SCHED_OTHER, _SCHED_BATCH, _SCHED_IDLE = 0, 3, 5

ALLOWED: Final = (
    # Memory. Compiled code is mapped executable, which is what the process is for.
    *("brk", "madvise", "membarrier", "mmap", "mprotect", "mremap", "munmap"),
    # Threads: the deadline, the engine's own; `clone` is below.
    *("exit", "exit_group", "futex", "futex_wait", "futex_wake", "futex_waitv", "get_robust_list", "gettid"),
    *("rseq", "sched_getaffinity", "sched_yield", "set_robust_list", "set_tid_address"),
    # Signals of this process: the engine turns its own faults into traps.
    *("restart_syscall", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigreturn", "sigaltstack"),
    # Clocks and waiting.
    *("clock_getres", "clock_gettime", "clock_nanosleep", "gettimeofday", "nanosleep", "time"),
    *("timer_delete", "timer_settime", "timerfd_create", "timerfd_gettime", "timerfd_settime"),
    *("epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_wait", "eventfd2", "poll", "ppoll", "pselect6", "select"),
    # Descriptors that are open already.
    *("close", "dup", "fstat", "lseek", "pread64", "read", "readv", "write", "writev"),
    *("getsockname", "getsockopt"),
    # What a process may know about itself.
    *("getcpu", "getegid", "geteuid", "getgid", "getpid", "getrandom", "getrusage", "getuid", "sysinfo", "uname"),
    *("sched_getparam", "sched_getscheduler", "times"),
)

ALLOWED_WITH: Final[tuple[tuple[str, tuple[Bits, ...]], ...]] = (
    # A thread of this process, and no process. clone3 hides its flags in memory, where no filter can read them:
    # it answers ENOSYS, and C libraries fall back to this one.
    ("clone", (Bits(0, _THREAD | _APART, _THREAD),)),
    # Reading; Landlock decides what. openat2 hides its flags as well.
    ("open", (Bits(1, _O_WRITING, 0),)),
    ("openat", (Bits(2, _O_WRITING, 0),)),
    # An open file asked through its descriptor. The flag allows an empty path and does not demand one: a name tells
    # size and owner of a file that Landlock does not let be read.
    ("newfstatat", (Bits(3, _AT_EMPTY_PATH, _AT_EMPTY_PATH),)),
    ("statx", (Bits(2, _AT_EMPTY_PATH, _AT_EMPTY_PATH),)),
    # The channel, in the plainest way: no address, no flags. Urgent data (MSG_OOB) has been a way out of other
    # sandboxes through the kernel's UNIX sockets; sendmsg could send descriptors.
    ("sendto", (Bits(3, ALL ^ _MSG_NOSIGNAL, 0), _is(4, 0))),
    ("recvfrom", (_is(3, 0), _is(4, 0))),
    # F_SETOWN would send signals to other processes.
    *(("fcntl", (_is(1, each),)) for each in (_F_DUPFD, _F_DUPFD_CLOEXEC, _F_GETFD, _F_GETFL, _F_SETFD, _F_SETFL)),
    *(("ioctl", (_is(1, each),)) for each in (_FIOCLEX, _FIONBIO)),
    ("prctl", (_is(0, _PR_SET_NAME),)),
    # Signals threads of this process only; the kernel refuses any other.
    ("timer_create", (_is(0, _CLOCK_MONOTONIC),)),
    # Limits are read, never set: for another process of this user it would be an attack.
    ("prlimit64", (_is(0, 0), _is(2, 0))),
    ("getrlimit", ()),
    # An engine that aborts.
    ("tgkill", (_is(0, OWN_PROCESS),)),
    # Its own priority.
    *(
        ("sched_setscheduler", (_is(0, process), _is(1, policy)))
        for process in (0, OWN_PROCESS)
        for policy in (_SCHED_OTHER, _SCHED_BATCH, _SCHED_IDLE)
    ),
)

DENIED_WITH: Final[tuple[tuple[str, tuple[Bits, ...]], ...]] = (
    # EPERM instead of ENOSYS for what a library may try in good faith.
    *(("open", (Bits(1, each, each),)) for each in (_O_WRONLY, _O_RDWR, _O_CREAT, _O_TRUNC)),
    *(("openat", (Bits(2, each, each),)) for each in (_O_WRONLY, _O_RDWR, _O_CREAT, _O_TRUNC)),
)

FATAL_WITH: Final[tuple[tuple[str, tuple[Bits, ...]], ...]] = (
    # A fork.
    ("clone", (Bits(0, _CLONE_THREAD, 0),)),
)

FATAL: Final = (
    # Other programs and processes.
    *("execve", "execveat", "fork", "vfork", "memfd_create", "memfd_secret", "setns", "unshare"),
    *("kcmp", "pidfd_getfd", "pidfd_open", "pidfd_send_signal", "process_madvise", "process_mrelease"),
    *("process_vm_readv", "process_vm_writev", "ptrace"),
    *("kill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "tkill"),
    # The network, and descriptors that travel.
    *("accept", "accept4", "bind", "connect", "listen", "socket", "socketpair"),
    *("recvmmsg", "recvmsg", "sendmmsg", "sendmsg"),
    # Large surfaces of the kernel.
    *("add_key", "bpf", "io_uring_enter", "io_uring_register", "io_uring_setup", "keyctl", "modify_ldt"),
    *("perf_event_open", "request_key", "userfaultfd"),
    # The machine and its file systems.
    *("chroot", "delete_module", "finit_module", "fsopen", "init_module", "ioperm", "iopl", "kexec_load"),
    *("kexec_file_load", "mount", "mount_setattr", "move_mount", "open_by_handle_at", "open_tree", "personality"),
    *("pivot_root", "reboot", "swapoff", "swapon", "umount2"),
    # Names and contents of files.
    *("chmod", "chown", "creat", "fallocate", "fchmod", "fchmodat", "fchown", "fchownat", "ftruncate", "lchown"),
    *("link", "linkat", "mkdir", "mkdirat", "mknod", "mknodat", "rename", "renameat", "renameat2", "rmdir"),
    *("setxattr", "symlink", "symlinkat", "truncate", "unlink", "unlinkat", "utimensat"),
    # Who it is.
    *("capset", "setfsgid", "setfsuid", "setgid", "setgroups", "setregid", "setresgid", "setresuid", "setreuid"),
    "setuid",
)
