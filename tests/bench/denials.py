"""What refusals cost: the note of one, and others' calls beside a flood of them or of calls that are allowed."""

from __future__ import annotations

import asyncio
import statistics
import time

import grpc

from hibana.v1 import admin_pb2 as pb
from hibana.v1 import executor_pb2
from hibana_server.services.denials import Denials
from tests.framework.server import Server
from tests.framework.stubs import Stubs
from tests.unit.test_audit_chain import an_entry

ROUNDS = 3
CALLS = 300
NOTES = 20_000
TOGETHER = 4


def note_us(each: int) -> float:
    """Return microseconds of a note, when `each` of a sort are told one by one."""
    notes = Denials(each, each)
    begin = time.perf_counter()
    for _ in range(NOTES):
        notes.note(("mallory", "module.get", "NOT_FOUND"), lambda: an_entry(1))
    return (time.perf_counter() - begin) / NOTES * 1e6


async def _flood(stubs: Stubs, subject: str, stop: asyncio.Event) -> int:
    """Ask for a quota until told to stop, and return how often: somebody else's is refused."""
    count = 0
    while not stop.is_set():
        try:
            await stubs.admin.GetQuota(pb.GetQuotaRequest(subject=subject))
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
        count += 1
    return count


async def _beside(server: Server, subject: str) -> tuple[float, float]:
    """Return p50 of quiet calls (us) beside a flood, and the flood's calls per second."""
    quiet = server.stubs("bench")
    loud = [server.stubs("mallory") for _ in range(TOGETHER)]
    stop = asyncio.Event()
    floods = [asyncio.ensure_future(_flood(stubs, subject, stop)) for stubs in loud]
    request = executor_pb2.InvokeRequest(module="user/bench/tiny", function="add")
    request.json_arguments.extend([1, 2])
    times = []
    begin = time.perf_counter()
    for _ in range(CALLS):
        start = time.perf_counter()
        await quiet.executor.Invoke(request)
        times.append(time.perf_counter() - start)
    seconds = time.perf_counter() - begin
    stop.set()
    count = sum(await asyncio.gather(*floods))
    for stubs in (quiet, *loud):
        await stubs.close()
    return statistics.median(times) * 1e6, count / seconds


def measure(server: Server) -> dict[str, float]:
    """Alternate floods that are refused and floods that are allowed."""
    refused, allowed = [], []
    for _ in range(ROUNDS):
        allowed.append(asyncio.run(_beside(server, "mallory")))
        refused.append(asyncio.run(_beside(server, "somebody")))
    quiet_refused, loud_refused = (statistics.median(each) for each in zip(*refused, strict=True))
    quiet_allowed, loud_allowed = (statistics.median(each) for each in zip(*allowed, strict=True))
    return {
        "denial counted us": note_us(20),
        "denial kept us": note_us(NOTES),
        "invoke p50 beside refusals / beside allowed calls": quiet_refused / quiet_allowed,
        "refusals / allowed calls per s": loud_refused / loud_allowed,
    }
