"""Hostile native code inside a real worker: what it tries, one by one, and how each is refused."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import platform
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from hibana_server.sandbox.worker_source import WorkerSource
from hibana_server.sandbox.zygote_frames import NOT_CONFINED_STATUS
from tests.framework.attackers import DATA_BYTES, FORBIDDEN, Attackers, Ended, attackers, execute, number

pytestmark = [pytest.mark.needs_landlock, pytest.mark.needs_seccomp]

NO_SUCH_CALL = errno.ENOSYS
FRONT = os.getpid()
X86 = platform.machine() == "x86_64"
AT_FDCWD = -100
BUFFER = ["", 64]
INTERNET = ["0200" + "0050" + "7f000001" + "00" * 8, 16]
"""127.0.0.1, port 80, as the kernel wants it."""
RIGHTS = os.O_RDONLY, os.O_WRONLY, os.O_RDWR


@pytest.fixture(scope="module")
def house() -> Iterator[Attackers]:
    with attackers("landlock", "seccomp") as opened:
        yield opened


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a data directory with a key, and an artifact in two tiers."""
    root = tmp_path_factory.mktemp("data")
    for name in ("keys/artifact.key", "artifacts/user/ab/abcd.cwasm", "artifacts/admin/ab/abcd.cwasm"):
        path = root / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"precious")
    return root


def opened(house: Attackers, data_dir: Path, path: Path, flags: int) -> int:
    """Return the error number that opening a file gives in a worker of the user tier, 0 for none."""
    worker = house.worker(data_dir / "artifacts/user")
    result, error = worker.call("openat", AT_FDCWD, str(path), flags, 0o600)
    assert (result >= 0) == (error == 0)
    return error


# ------------------------------------------------------------------------------------------------ files


def test_an_artifact_of_its_tier_is_read(house: Attackers, data_dir: Path) -> None:
    assert opened(house, data_dir, data_dir / "artifacts/user/ab/abcd.cwasm", os.O_RDONLY) == 0


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "keys/artifact.key", "artifacts/admin/ab/abcd.cwasm", "artifacts/user/../admin/ab/abcd.cwasm"],
)
def test_no_other_file_is_read(house: Attackers, data_dir: Path, path: str) -> None:
    assert (data_dir / path).exists()
    assert opened(house, data_dir, data_dir / path, os.O_RDONLY) == errno.EACCES


@pytest.mark.parametrize("path", ["/", "/proc", ".", "artifacts", "artifacts/user", "artifacts/user/ab"])
def test_no_directory_is_listed(house: Attackers, data_dir: Path, path: str) -> None:
    assert opened(house, data_dir, data_dir / path, os.O_RDONLY | os.O_DIRECTORY) == errno.EACCES


def test_a_link_to_another_file_opens_nothing(house: Attackers, data_dir: Path) -> None:
    link = data_dir / "artifacts/user/ab/link.cwasm"
    link.symlink_to(data_dir / "keys/artifact.key")
    try:
        assert opened(house, data_dir, link, os.O_RDONLY) == errno.EACCES
    finally:
        link.unlink()


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC, os.O_WRONLY | os.O_APPEND])
def test_its_own_artifact_is_not_written(house: Attackers, data_dir: Path, flags: int) -> None:
    artifact = data_dir / "artifacts/user/ab/abcd.cwasm"
    assert opened(house, data_dir, artifact, flags) == errno.EPERM
    assert artifact.read_bytes() == b"precious"


def test_its_own_artifact_is_not_written_through_a_mapping(house: Attackers, data_dir: Path) -> None:
    worker = house.worker(data_dir / "artifacts/user")
    artifact = str(data_dir / "artifacts/user/ab/abcd.cwasm")
    descriptor, _ = worker.call("openat", AT_FDCWD, artifact, os.O_RDONLY, 0)
    shared, writable, readable = 1, 2, 1
    assert worker.call("mmap", 0, 4096, readable | writable, shared, descriptor, 0) == (-1, errno.EACCES)


@pytest.mark.parametrize("flags", [os.O_WRONLY | os.O_CREAT, os.O_RDONLY | os.O_CREAT, os.O_RDWR | os.O_TMPFILE])
def test_no_file_is_made(house: Attackers, data_dir: Path, flags: int) -> None:
    path = data_dir / "artifacts/user" / ("" if flags & os.O_TMPFILE == os.O_TMPFILE else "new")
    assert opened(house, data_dir, path, flags) == errno.EPERM
    assert not (data_dir / "artifacts/user/new").exists()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("unlinkat", (AT_FDCWD, "{artifact}", 0)),
        ("renameat2", (AT_FDCWD, "{artifact}", AT_FDCWD, "{artifact}.old", 0)),
        ("linkat", (AT_FDCWD, "{artifact}", AT_FDCWD, "{artifact}.too", 0)),
        ("symlinkat", ("/etc/passwd", AT_FDCWD, "{artifact}.link")),
        ("mkdirat", (AT_FDCWD, "{artifact}.dir", 0o700)),
        ("mknodat", (AT_FDCWD, "{artifact}.pipe", 0o010600, 0)),
        ("truncate", ("{artifact}", 0)),
        ("fchmodat", (AT_FDCWD, "{artifact}", 0o777)),
    ],
)
def test_no_name_is_changed(house: Attackers, data_dir: Path, name: str, arguments: tuple[Any, ...]) -> None:
    folder = data_dir / "artifacts/user/ab"
    filled = [each.format(artifact=folder / "abcd.cwasm") if isinstance(each, str) else each for each in arguments]
    assert end(house, name, *filled) == FORBIDDEN
    assert [(each.name, each.read_bytes()) for each in folder.iterdir()] == [("abcd.cwasm", b"precious")]


def test_memory_of_other_processes_is_no_file_either(house: Attackers) -> None:
    other = house.worker()
    worker = house.worker()
    for process in (FRONT, house.pid, other.pid):
        for flags, refusal in zip(RIGHTS, (errno.EACCES, errno.EPERM, errno.EPERM), strict=True):
            assert worker.call("openat", AT_FDCWD, f"/proc/{process}/mem", flags, 0) == (-1, refusal)


# ------------------------------------------------------------------------------------------------ forbidden calls


def end(house: Attackers, name: str, *arguments: Any) -> int:
    """Return the signal that ends a worker which makes a system call."""
    with pytest.raises(Ended) as caught:
        house.worker().call(name, *arguments)
    return caught.value.signal


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("socket", (socket.AF_INET, socket.SOCK_STREAM, 0)),
        ("socket", (socket.AF_INET6, socket.SOCK_DGRAM, 0)),
        ("socket", (socket.AF_UNIX, socket.SOCK_STREAM, 0)),
        ("socket", (socket.AF_NETLINK, socket.SOCK_RAW, 0)),
        ("socketpair", (socket.AF_UNIX, socket.SOCK_STREAM, 0, BUFFER)),
        ("connect", (0, INTERNET, 16)),
        ("bind", (0, INTERNET, 16)),
        ("listen", (0, 1)),
        ("accept4", (0, 0, 0, 0)),
        ("sendmsg", (0, BUFFER, 0)),
        ("recvmsg", (0, BUFFER, 0)),
        ("execve", ("/bin/true", 0, 0)),
        ("execveat", (0, "", 0, 0, 0x1000)),
        ("memfd_create", ("code", 0)),
        ("memfd_secret", (0,)),
        ("clone", (int(signal.SIGCHLD), 0, 0, 0, 0)),
        *((("fork", ()), ("vfork", ())) if X86 else ()),  # others have clone alone
        ("ptrace", (16, FRONT, 0, 0)),
        ("ptrace", (0, 0, 0, 0)),
        ("kill", (FRONT, int(signal.SIGKILL))),
        ("kill", (-1, int(signal.SIGKILL))),
        ("tkill", (FRONT, int(signal.SIGKILL))),
        ("rt_sigqueueinfo", (FRONT, int(signal.SIGKILL), BUFFER)),
        ("pidfd_open", (FRONT, 0)),
        ("pidfd_send_signal", (0, int(signal.SIGKILL), 0, 0)),
        ("pidfd_getfd", (0, 0, 0)),
        ("process_vm_readv", (FRONT, BUFFER, 1, BUFFER, 1, 0)),
        ("process_vm_writev", (FRONT, BUFFER, 1, BUFFER, 1, 0)),
        ("process_madvise", (0, BUFFER, 1, 4, 0)),
        ("kcmp", (FRONT, FRONT, 0, 0, 0)),
        ("io_uring_setup", (1, ["", 256])),
        ("bpf", (0, BUFFER, 64)),
        ("userfaultfd", (0,)),
        ("perf_event_open", (BUFFER, 0, -1, -1, 0)),
        ("keyctl", (0, 0, 0, 0, 0)),
        ("add_key", ("user", "name", "payload", 7, -4)),
        ("unshare", (0x1000_0000,)),
        ("setns", (0, 0)),
        ("mount", ("none", "/tmp", "tmpfs", 0, 0)),
        ("umount2", ("/", 2)),
        ("pivot_root", ("/", "/")),
        ("chroot", ("/",)),
        ("setuid", (0,)),
        ("reboot", (0, 0, 0, 0)),
        ("init_module", (0, 0, "")),
    ],
)
def test_a_forbidden_call_ends_the_worker(house: Attackers, name: str, arguments: tuple[Any, ...]) -> None:
    assert end(house, name, *arguments) == FORBIDDEN


def test_a_signal_to_a_thread_of_the_front_ends_the_worker(house: Attackers) -> None:
    worker = house.worker()
    assert worker.call("tgkill", FRONT, FRONT, int(signal.SIGKILL)) == (-1, NO_SUCH_CALL)


def test_a_worker_that_aborts_ends_as_such(house: Attackers) -> None:
    with pytest.raises(Ended) as caught:
        house.worker().ask("abort")
    assert caught.value.signal == signal.SIGABRT


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("clone3", (["", 88], 88)),  # C libraries fall back to clone
        ("openat2", (AT_FDCWD, "/etc/passwd", ["", 24], 24)),
        ("clone", (0x0001_0F00 | 0x1000_0000, 0, 0, 0, 0)),  # a thread in a user namespace of its own
        ("fcntl", (0, 8, FRONT)),  # F_SETOWN: signals of this descriptor go to the front
        ("ioctl", (0, 0x8901, BUFFER)),  # FIOSETOWN
        ("ioctl", (0, 0x5412, "x")),  # TIOCSTI: type into a terminal
        ("prctl", (1, 0, 0, 0, 0)),  # outlive the zygote
        ("prctl", (4, 1, 0, 0, 0)),
        ("prlimit64", (FRONT, 7, BUFFER, 0)),
        ("prlimit64", (0, 2, BUFFER, 0)),
        ("prlimit64", (FRONT, 7, 0, BUFFER)),
        ("sched_setscheduler", (FRONT, 5, BUFFER)),
        ("sched_setscheduler", (0, 1, BUFFER)),
        ("sched_setaffinity", (FRONT, 8, BUFFER)),
        ("setpriority", (0, FRONT, 19)),
        ("migrate_pages", (FRONT, 1, BUFFER, BUFFER)),
        ("sendto", (0, "x", 1, 0, INTERNET, 16)),
        ("sendto", (0, "x", 1, int(socket.MSG_OOB), 0, 0)),
        ("recvfrom", (0, BUFFER, 64, int(socket.MSG_OOB), 0, 0)),
        ("landlock_restrict_self", (0, 0)),
        ("seccomp", (1, 0, BUFFER)),
        ("newfstatat" if X86 else "fstatat64", (AT_FDCWD, "/etc/passwd", ["", 256], 0)),
        ("getdents64", (0, BUFFER, 64)),
        ("readlinkat", (AT_FDCWD, f"/proc/{FRONT}/exe", BUFFER, 64)),
        ("shmget", (0, 4096, 0o1600)),
        ("mq_open", ("queue", 0o102, 0o600, 0)),
        ("timer_create", (0, BUFFER, BUFFER)),
    ],
)
def test_a_call_that_nothing_needs_does_not_exist(house: Attackers, name: str, arguments: tuple[Any, ...]) -> None:
    assert house.worker().call(name, *arguments) == (-1, NO_SUCH_CALL)


if X86:  # others have one table of system calls

    def test_other_tables_of_system_calls_end_the_worker(house: Attackers) -> None:
        with pytest.raises(Ended) as caught:
            house.worker().ask("system_call", 0x4000_0000 | number("getpid"))  # x32
        assert caught.value.signal == FORBIDDEN
        with pytest.raises(Ended) as caught:
            house.worker().ask("native", "b814000000cd80c3")  # mov eax, 20; int 0x80; ret
        # The kernel may have been built without the 32-bit table; then the instruction itself is refused.
        assert caught.value.signal in {FORBIDDEN, signal.SIGSEGV}


# ------------------------------------------------------------------------------------------------ others and itself


def test_memory_of_another_worker_is_not_read(house: Attackers) -> None:
    victim = house.worker()
    address = victim.ask("address")
    with pytest.raises(Ended) as caught:
        house.worker().ask("read_other", number("process_vm_readv"), victim.pid, address)
    assert caught.value.signal == FORBIDDEN
    assert victim.ask("address") == address


def test_threads_go_on(house: Attackers) -> None:
    worker = house.worker()
    assert worker.ask("in_thread", number("getpid")) == [worker.pid, 0]


def test_a_thread_is_confined_as_well(house: Attackers) -> None:
    flags = (AT_FDCWD, "/etc/passwd", os.O_RDONLY, 0)
    assert house.worker().ask("in_thread", number("openat"), *flags) == [-1, errno.EACCES]
    with pytest.raises(Ended) as caught:
        house.worker().ask("in_thread", number("socket"), socket.AF_INET, socket.SOCK_STREAM, 0)
    assert caught.value.signal == FORBIDDEN


def test_a_worker_has_nothing_but_its_channel(house: Attackers) -> None:
    worker = house.worker()
    worker.ask("address")  # the walls stand as soon as it answers
    status = Path(f"/proc/{worker.pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"
    assert {fields[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0000000000000000"}
    targets = sorted(str(each.readlink()) for each in Path(f"/proc/{worker.pid}/fd").iterdir())
    assert targets[:3] == [os.devnull] * 3
    # Its own sizes, which nobody else's file tells.
    assert [each.split(":")[0] for each in targets[3:]] == [f"/proc/{worker.pid}/statm", "socket"]


def test_a_worker_whose_walls_do_not_rise_ends(house: Attackers, data_dir: Path) -> None:
    for missing in (data_dir / "artifacts/nobody", data_dir / "keys/artifact.key"):  # not there; no directory
        with pytest.raises(Ended) as caught:
            house.worker(missing).ask("address")
        assert caught.value.status == NOT_CONFINED_STATUS


# ------------------------------------------------------------------------------------------------ each wall alone


def test_landlock_alone_stands_before_files_network_and_processes(data_dir: Path) -> None:
    with attackers("landlock") as house, socket.create_server(("127.0.0.1", 0)) as listener:
        victim = house.worker()
        worker = house.worker(data_dir / "artifacts/user")
        for path in ("/etc/passwd", str(data_dir / "keys/artifact.key"), f"/proc/{FRONT}/mem", sys.executable):
            assert worker.call("openat", AT_FDCWD, path, os.O_RDONLY, 0) == (-1, errno.EACCES)
        artifact = str(data_dir / "artifacts/user/ab/abcd.cwasm")
        assert worker.call("openat", AT_FDCWD, artifact, os.O_RDWR, 0) == (-1, errno.EACCES)
        assert worker.call("execve", "/bin/true", 0, 0) == (-1, errno.EACCES)
        assert worker.call("ptrace", 16, FRONT, 0, 0) == (-1, errno.EPERM)
        address = victim.ask("address")
        reading = number("process_vm_readv")
        assert worker.ask("read_other", reading, victim.pid, address) == [-1, errno.EPERM]
        assert worker.ask("read_other", reading, worker.pid, worker.ask("address")) == [16, 0]
        abi = next(wall.detail for wall in house.walls if wall.name == "landlock")
        if "TCP" in abi:
            assert worker.ask("connect", socket.AF_INET, listener.getsockname()) == [-1, errno.EACCES]
        if "signals" in abi:
            for process in (FRONT, house.pid, victim.pid):
                assert worker.call("kill", process, 0) == (-1, errno.EPERM)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as unix:
                unix.bind(f"\0hibana-{FRONT}")
                unix.listen()
                assert worker.ask("connect", socket.AF_UNIX, f"\0hibana-{FRONT}") == [-1, errno.EPERM]


def test_seccomp_alone_stands_before_the_kernel(data_dir: Path) -> None:
    with attackers("seccomp") as house:
        worker = house.worker()
        assert worker.call("openat", AT_FDCWD, "/etc/passwd", os.O_RDONLY, 0)[0] > 0  # that takes Landlock
        assert worker.call("openat", AT_FDCWD, str(data_dir / "new"), os.O_CREAT | os.O_WRONLY, 0) == (-1, errno.EPERM)
        assert end(house, "socket", socket.AF_INET, socket.SOCK_STREAM, 0) == FORBIDDEN
        assert end(house, "kill", FRONT, 0) == FORBIDDEN


def test_without_both_the_worker_still_has_no_rights() -> None:
    with attackers("none") as house:
        worker = house.worker()
        assert worker.call("mount", "none", "/tmp", "tmpfs", 0, 0) == (-1, errno.EPERM)
        assert worker.ask("environment") == {"TOKIO_WORKER_THREADS": "1"}


# ------------------------------------------------------------------------------------------------ what the front sees


async def test_the_front_counts_forbidden_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hibana_server.sandbox.worker_source._execute", execute)
    source = WorkerSource(lambda: None, {"landlock", "seccomp"})
    source.start()
    try:
        born = await source.spawn(DATA_BYTES, 0, None)
        assert born is not None
        assert {wall.name for wall in source.walls if wall.stands} >= {"landlock", "seccomp"}
        loop = asyncio.get_running_loop()
        attempt = ["system_call", number("socket"), socket.AF_INET, socket.SOCK_STREAM, 0]
        await loop.sock_sendall(born.sock, json.dumps(attempt).encode() + b"\n")
        with suppress(ConnectionResetError):
            assert await loop.sock_recv(born.sock, 1) == b""
        async with asyncio.timeout(20):
            while not source.forbidden_calls:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
        born.discard()
    finally:
        await source.stop()
    assert source.forbidden_calls == 1
