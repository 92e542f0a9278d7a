"""A sandbox that a test has leased, without the service: calls one after the other on an instance that is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from hibana_server.domain.executions import Limits, Outcome, Output, RunEnd, Usage
from hibana_server.domain.leases import Lease, LeaseCall, LeaseJob
from hibana_server.domain.sandboxes import Claim, TypedCall
from hibana_server.domain.tiers import Tier
from hibana_server.services.targets import Function
from tests.framework.guests import LIMITS, Bench, artifact, described

PATIENCE = replace(LIMITS, timeout=60.0)
"""A guest that takes long has what others leave of a busy machine."""


class KeptComponent:
    """`domain.leases.LeaseSink` on a component; leaving the context closes the lease."""

    def __init__(self, bench: Bench, code: bytes, limits: Limits = PATIENCE, tier: Tier = Tier.USER) -> None:
        self._bench = bench
        self._code = code
        self._limits = limits
        self._tier = tier
        self._facts = described(code, tier)
        self._told: asyncio.Queue[RunEnd] = asyncio.Queue()
        self._lease: Lease | None = None
        self._gone = asyncio.Event()
        self.pieces: list[Output] = []
        self.at_end = Usage()
        """What freeing took when the lease was closed."""

    async def __aenter__(self) -> Self:
        made = artifact(self._bench.directory, self._code)
        claim = Claim(self._tier, "alice", "alice", made.key, self._limits.memory_bytes)
        sandbox = await self._bench.pool.acquire(claim)
        memories = self._facts.memories
        job = LeaseJob(
            made, self._limits, self._limits.timeout, frozenset(), "program", (), (), fresh=False, memories=memories
        )
        self._lease = sandbox.lease(job, self)
        end = await asyncio.wait_for(self._told.get(), 90)
        assert end.outcome is Outcome.OK, end
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        assert self._lease is not None
        self._lease.close()
        await asyncio.wait_for(self._gone.wait(), 90)

    async def end(self, function: str, *values: Any) -> RunEnd:
        """Make a call and return its end."""
        export = self._facts.export(function)
        assert export is not None
        called = Function(export)
        assert called.binding is not None
        typed = TypedCall(called.binding, values)
        assert self._lease is not None
        self._lease.call([LeaseCall(export.name, (), called.results, self._limits, typed)])
        return await asyncio.wait_for(self._told.get(), 90)

    async def value(self, function: str, *values: Any) -> Any:
        """Make a call that must end well, and return its result, if it has one."""
        end = await self.end(function, *values)
        assert end.outcome is Outcome.OK, end
        return end.results[0] if end.results else None

    # ------------------------------------------------------------ the sandbox tells

    def opened(self, end: RunEnd) -> None:
        """Take the end of making ready."""
        self._told.put_nowait(end)

    def output(self, _call: LeaseCall | None, pieces: Sequence[Output]) -> None:
        """Take output."""
        self.pieces += pieces

    def answered(self, ends: Sequence[tuple[LeaseCall, RunEnd]]) -> None:
        """Take ends of calls."""
        for _, end in ends:
            self._told.put_nowait(end)

    def given_back(self, calls: Sequence[LeaseCall]) -> None:
        """Fail: nothing is given back here."""
        raise AssertionError(calls)

    def hungry(self) -> None:
        """Fail: components have no stdin here."""
        raise AssertionError

    def spent(self, usage: Usage) -> None:
        """Take what freeing took."""
        self.at_end = usage

    def left(self, sizes: tuple[int, ...], *, whole: bool) -> None:
        """Nothing to do: no files are asked for."""

    def over(self, outcome: Outcome | None, usage: Usage) -> None:
        """Take note of the end; a call that ran was cut off."""
        if outcome is not None:
            self._told.put_nowait(RunEnd(outcome, usage=usage))
        self._gone.set()
