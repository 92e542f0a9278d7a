"""Run compile workers: few at a time, bounded in waiting, time, memory and output."""

from __future__ import annotations

import asyncio
import math
import os
import re
import signal
from dataclasses import dataclass

import msgspec
import structlog

from hibana_server.domain.errors import DataLoss, Exhausted, HibanaError, Internal, Invalid, Unavailable
from hibana_server.domain.modules import Finding, ModuleFacts, Severity
from hibana_server.domain.tiers import MIB, Tier, TierPolicy
from hibana_server.sandbox.compile_frames import (
    ENOSPC_STATUS,
    MAX_ANSWER_BYTES,
    Accepted,
    CompileRequest,
    Refused,
    decode_answer,
    out_of_memory,
)
from hibana_server.sandbox.compile_process import CompileProcess, ProcessEnd, start
from hibana_server.sandbox.compile_source import CompileSource
from hibana_server.sandbox.turns import Turns, TurnsFull
from hibana_server.sandbox.zygote import ZygoteGone

log = structlog.get_logger(__name__)

MIN_ARTIFACT_BYTES = 64 * MIB
ARTIFACT_GROWTH = 16
"""Compiled code is 3 to 5 times the size of its source; far beyond that something is wrong."""
PATIENCE_SECONDS = 60.0
"""Wall time that a compile gets beyond twice its CPU time before the machine counts as too busy for it.

It only gets the processor that others leave, so on a busy server this is what large modules live from.
"""

_SMALLER = "Split its largest functions, build with optimisation, or upload it as an admin module."
_OUT_OF_MEMORY = re.compile(
    r"memory allocation of \d+ bytes failed|cannot allocate memory|out of memory", re.IGNORECASE
)
"""What the engine and the C library write before they abort for want of memory. They abort for other defects too."""
_FROM_OUTSIDE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


@dataclass(frozen=True, slots=True)
class CompileSettings:
    """How much compiling may go on at once, and what one compile may use."""

    concurrency: int = 0
    """Workers at a time; 0 means one more than there are CPUs, at least three, fewer where memory is short."""
    max_queue: int = 32
    """Compiles that may wait for a worker, half of them of one caller; one more is refused at once."""
    address_space_bytes: int = 1536 * MIB
    """Address space of a worker; the largest honest modules stay below 1 GiB, bombs ask for ten times as much."""


def default_concurrency(address_space_bytes: int) -> int:
    """Return how many workers may run at a time: enough that two bombs leave a place to another caller's module.

    They take processors only while calls leave them idle (SCHED_IDLE), so more of them cost calls nothing; memory
    bounds them, a quarter of the machine's if each used up its address space.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    wanted = max(3, len(os.sched_getaffinity(0)) + 1)
    return max(1, min(wanted, memory // 4 // address_space_bytes))


class CompileRunner:
    """Starts one worker per job. Use on one event loop, and `stop` it."""

    def __init__(self, settings: CompileSettings | None = None) -> None:
        self._settings = settings or CompileSettings()
        self._concurrency = self._settings.concurrency or default_concurrency(self._settings.address_space_bytes)
        self._turns = Turns(self._concurrency, self._settings.max_queue)
        self._source = CompileSource()
        self._running: set[CompileProcess] = set()

    async def stop(self) -> None:
        """End every worker, and what they are forked from."""
        await self._source.stop()

    @property
    def running(self) -> tuple[int, ...]:
        """Process ids of the workers at work."""
        return tuple(process.pid for process in self._running)

    @property
    def waiting(self) -> int:
        """Jobs that wait for a worker."""
        return self._turns.waiting

    async def run(
        self, wasm_fd: int, output_fd: int, sha256: str, tier: Tier, policy: TierPolicy, caller: str
    ) -> Accepted:
        """Compile what `wasm_fd` holds into `output_fd`; both stay open. Cancelling kills the worker.

        Raises Invalid with findings for a module that is refused, Exhausted (COMPILE_QUEUE_FULL) when too
        many wait or the machine was too busy, DataLoss when the bytes do not have the digest, Unavailable
        when the disk is full or the worker was killed by somebody else.
        """
        return await self._in_turn(wasm_fd, output_fd, sha256, tier, policy, caller, -1)

    async def describe(
        self, wasm_fd: int, sha256: str, tier: Tier, policy: TierPolicy, caller: str, signatures: str
    ) -> ModuleFacts:
        """Describe what `wasm_fd` holds with the types that came with it, and compile nothing. Raises what `run` does.

        Types that are not understood, or that the module's functions do not have, are Invalid(SIGNATURES_INVALID).
        """
        # A request is shorter than types may be.
        descriptor = os.memfd_create("signatures", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, signatures.encode())
            os.lseek(descriptor, 0, os.SEEK_SET)
            return (await self._in_turn(wasm_fd, -1, sha256, tier, policy, caller, descriptor)).facts
        finally:
            os.close(descriptor)

    async def _in_turn(
        self,
        wasm_fd: int,
        output_fd: int,
        sha256: str,
        tier: Tier,
        policy: TierPolicy,
        caller: str,
        signatures_fd: int,
    ) -> Accepted:
        try:
            async with self._turns.place(caller):
                return await self._run_now(wasm_fd, output_fd, sha256, tier, policy, signatures_fd)
        except TurnsFull as full:
            raise Exhausted(
                f"{full.waiting} modules wait for the compiler: try again in a few seconds.",
                reason="COMPILE_QUEUE_FULL",
                retry_after=max(1.0, policy.compile_seconds / 2),
            ) from None

    async def _run_now(
        self, wasm_fd: int, output_fd: int, sha256: str, tier: Tier, policy: TierPolicy, signatures_fd: int
    ) -> Accepted:
        request = CompileRequest(
            wasm_fd=wasm_fd,
            output_fd=output_fd,
            sha256=sha256,
            tier=tier,
            policy=policy,
            cpu_seconds=math.ceil(policy.compile_seconds),
            address_space_bytes=self._settings.address_space_bytes,
            output_bytes=max(MIN_ARTIFACT_BYTES, ARTIFACT_GROWTH * os.fstat(wasm_fd).st_size),
            signatures_fd=signatures_fd,
        )
        try:
            process = await start(self._source, request, answer_bytes=MAX_ANSWER_BYTES)
        except (ZygoteGone, OSError) as error:
            log.exception("compiler_start_failed")
            raise Unavailable("The compiler cannot be started now: try again later.", retry_after=5.0) from error
        self._running.add(process)
        wall_seconds = policy.compile_seconds * 2 + PATIENCE_SECONDS
        try:
            async with asyncio.timeout(wall_seconds):
                end = await process.wait()
        except TimeoutError:
            process.kill()
            end = await process.wait()
            if end.status == -signal.SIGKILL:
                raise _too_busy() from None
        finally:
            process.kill()
            await process.wait()
            self._running.discard(process)
        return self._judge(end, request, policy)

    def _judge(self, end: ProcessEnd, request: CompileRequest, policy: TierPolicy) -> Accepted:
        if end.status == 0:
            return _judge_answer(end, request)
        if end.overflow:
            log.error("compiler_answer_too_long", sha256=request.sha256)
            raise _budget("The module's description is too long.", "Export and import fewer functions.")
        if end.status == ENOSPC_STATUS:
            raise Unavailable(
                "The disk for compiled modules is full: free space or try again later.",
                reason="STORAGE_UNAVAILABLE",
                retry_after=30.0,
            )
        log.warning(
            "compiler_died",
            sha256=request.sha256,
            status=end.status,
            cpu_seconds=round(end.cpu_seconds, 3),
            stderr=end.stderr,
        )
        # The kernel's SIGKILL at the hard limit looks like anyone's, but only it comes with the CPU time used up.
        if end.status == -signal.SIGXCPU or (-end.status in _FROM_OUTSIDE and end.cpu_seconds >= request.cpu_seconds):
            raise _budget(f"Compiling the module takes more than {policy.compile_seconds:g} s of CPU time.", _SMALLER)
        if end.status == -signal.SIGABRT and _OUT_OF_MEMORY.search(end.stderr):
            raise _refused(out_of_memory(request.address_space_bytes))
        if -end.status in _FROM_OUTSIDE:
            raise Unavailable("The compiler was ended from outside; nothing was stored: try again.", retry_after=1.0)
        if end.status < 0:
            text = f"The compiler crashed on this module (signal {-end.status})."
            raise _budget(text, "Build the module with another optimisation level.", code="COMPILER_CRASHED")
        raise Internal("The compiler failed; the server's log has the cause.")


def _judge_answer(end: ProcessEnd, request: CompileRequest) -> Accepted:
    try:
        answer = decode_answer(end.answer)
    except msgspec.DecodeError as error:
        log.exception("compiler_answer_invalid", sha256=request.sha256, stderr=end.stderr)
        raise Internal("The compiler failed; the server's log has the cause.") from error
    if isinstance(answer, Refused):
        raise _refused(answer)
    if request.output_fd >= 0 and os.fstat(request.output_fd).st_size != answer.size:
        log.error("compiler_output_differs", sha256=request.sha256, announced=answer.size)
        raise Internal("The compiler failed; the server's log has the cause.")
    return answer


def _refused(answer: Refused) -> HibanaError:
    finding = answer.findings[0]
    if answer.reason == "DIGEST_MISMATCH":
        return DataLoss(f"{finding.text} {finding.fix}")
    return Invalid(f"{finding.text} {finding.fix}", reason=answer.reason, findings=answer.findings)


def _budget(text: str, fix: str, *, code: str = "COMPILE_BUDGET") -> Invalid:
    return Invalid(f"{text} {fix}", reason="COMPILE_BUDGET", findings=(Finding(Severity.ERROR, code, text, fix),))


def _too_busy() -> HibanaError:
    # Its CPU time was not used up: that says something about this machine and nothing about the module.
    return Exhausted(
        "The machine is too busy to compile now: try again later.", reason="COMPILE_QUEUE_FULL", retry_after=10.0
    )
