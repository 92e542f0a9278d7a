"""What holds after every case: the service goes on, nothing is left behind, and nobody saw anything of another.

the front is the same process            the next good call ends OK within a second
memory is back within 10 %               no process is left that the service does not know of
no record is left running                no answer and no log line holds another caller's bytes
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from hibana.v1 import execution_pb2
from tests.framework.processes import command_line, descendants
from tests.hostile.house import House

GOOD_CALL_SECONDS = 1.0
ATTEMPTS = 3
"""Good calls of which one must end in time: the machine that measures may be busy itself."""
SETTLE_SECONDS = 10.0
MEMORY_SECONDS = 20.0
"""Output for a reader that takes nothing is kept for 10 s, and freed memory is given back in the seconds after."""
MEMORY_RATIO = 1.10
MEMORY_FLOOR = 8 * 1024 * 1024
"""Growth that is not judged in one case, bytes: freed memory that allocators keep for the next large message. What
grows by a little in every case is found by `make soak`."""
ZYGOTE = "sandbox.worker.zygote"
COMPILER = "sandbox.compiler"

_QUIET = (
    "hibana_executions_running",
    "hibana_pool_busy",
    "hibana_pool_waiting",
    "hibana_pool_reserved_bytes",
    "hibana_artifacts_compiling",
    "hibana_artifacts_waiting",
)


@dataclass(frozen=True, slots=True)
class Census:
    """The processes of a server, as the kernel tells them."""

    zygotes: tuple[int, ...]
    """Those that workers are forked from."""
    workers: tuple[int, ...]
    compile_zygotes: tuple[int, ...]
    compilers: tuple[int, ...]
    others: tuple[str, ...]
    """Command lines of descendants that are none of these."""
    private_bytes: int
    """Memory that only these processes and the server itself hold."""


def census(front: int) -> Census:
    """Look at a server's processes."""
    below = descendants(front)
    lines = {pid: command_line(pid) for pid in below}
    family = [pid for pid in below if ZYGOTE in lines[pid]]
    workers = {child for pid in family for child in descendants(pid)}
    others = [pid for pid in below if COMPILER in lines[pid]]
    compilers = {child for pid in others for child in descendants(pid)}
    known = {*others, *compilers, *family, *workers}
    return Census(
        zygotes=tuple(pid for pid in family if pid not in workers),
        workers=tuple(sorted(workers)),
        compile_zygotes=tuple(pid for pid in others if pid not in compilers),
        compilers=tuple(sorted(compilers)),
        # An empty command line is a process that has ended, or has not begun, while this looked.
        others=tuple(lines[pid] for pid in below if pid not in known and lines[pid]),
        private_bytes=sum(private_bytes(pid) for pid in (front, *below)),
    )


def private_bytes(pid: int) -> int:
    """Return the memory that a process shares with no other; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty"))) * 1024


def descriptors(pid: int) -> int:
    """Count the open descriptors of a process; 0 when it is gone."""
    try:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return 0


def threads(pid: int) -> int:
    """Count the threads of a process; 0 when it is gone."""
    try:
        return len(list(Path(f"/proc/{pid}/task").iterdir()))
    except OSError:
        return 0


@asynccontextmanager
async def unharmed(house: House, case: str) -> AsyncIterator[None]:
    """Check the house after the case that is done inside."""
    await house.begin(case)
    before, since = census(house.front).private_bytes, house.server.line_count
    yield
    await house.close_others()
    await next_good_call(house)
    assert house.server.pid == house.front
    await settled(house)
    await memory_back(house, before)
    assert await house.count(state=execution_pb2.EXECUTION_STATE_RUNNING) == 0
    assert await house.count(state=execution_pb2.EXECUTION_STATE_QUEUED) == 0
    log_is_clean(house, since)
    assert house.leaks == []


async def next_good_call(house: House) -> None:
    """Check that alice is served within a second."""
    ends: list[str] = []
    for _ in range(ATTEMPTS):
        begin = time.perf_counter()
        try:
            answer = await house.add(timeout=GOOD_CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            ends.append(f"{error.code().name} {error.details()}")
            continue
        assert answer.outcome == execution_pb2.OUTCOME_OK, answer
        assert list(answer.result.json) == [5]
        if time.perf_counter() - begin <= GOOD_CALL_SECONDS:
            return
        ends.append("late")
    raise AssertionError(f"the next good calls: {', '.join(ends)}\n{house.server.text()}")


async def settled(house: House) -> None:
    """Check that nothing runs, waits, is reserved or compiled, and that every process is one the service counts."""
    end = time.monotonic() + SETTLE_SECONDS
    while True:
        metrics = await house.metrics()
        wrong = [f"{name} = {metrics[name]:g}" for name in _QUIET if metrics[name]]
        found = census(house.front)
        if len(found.workers) != metrics["hibana_pool_workers"]:
            wrong.append(f"{len(found.workers)} workers, the pool counts {metrics['hibana_pool_workers']:g}")
        if found.compilers or found.others or len(found.zygotes) != 1 or len(found.compile_zygotes) > 1:
            wrong.append(f"processes: {found}")
        if not wrong:
            return
        assert time.monotonic() < end, f"{'; '.join(wrong)}\n{house.server.text()}"
        await asyncio.sleep(0.01)


async def memory_back(house: House, before: int) -> None:
    """Check that the server and its processes hold what they held, plus at most a tenth."""
    before = max(before, house.at_work_bytes)
    allowed = max(before * MEMORY_RATIO, before + MEMORY_FLOOR)
    end = time.monotonic() + MEMORY_SECONDS
    while (now := census(house.front).private_bytes) > allowed:
        each = [private_bytes(pid) >> 10 for pid in (house.front, *descendants(house.front))]
        assert time.monotonic() < end, f"memory {before >> 10} KiB before, {now >> 10} KiB after: {each}"
        await asyncio.sleep(0.05)


def log_is_clean(house: House, since: int) -> None:
    """Check that no line of the log since the case began holds a secret, a defect or a control character."""
    # A server that was started again has a log of its own.
    lines = house.server.lines(since if since <= house.server.line_count else 0)
    for line in lines:
        house.hear("the log", line.encode())
        assert line.rstrip("\n").isprintable(), f"a control character in the log: {line!r}"
    defects = [line for line in lines if any(f'"event":"{event}"' in line for event in _DEFECTS)]
    assert not defects, "".join(defects)


_DEFECTS = frozenset({"defect", "output_not_passed_on", "end_not_passed_on", "record_refused", "worker_defect"})
"""What the log tells when the service itself is at fault."""
