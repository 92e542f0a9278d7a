"""Leasing a sandbox: one worker for many calls, on one instance that is kept or on one of its own for each.

`domain.sandboxes` has what runs a single call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from hibana_server.domain.executions import Limits, Outcome, Output, RunEnd, Usage
from hibana_server.domain.files import Directory
from hibana_server.domain.sandboxes import Artifact, TypedCall


@dataclass(slots=True)
class LeaseJob:
    """What a sandbox is leased for."""

    artifact: Artifact
    limits: Limits
    """Of all calls together: memory of the instance, time of its guest, output. Where each call has an instance of its
    own: the most that one may have."""
    start_timeout: float
    """Seconds in which the instance must be made."""
    host_functions: frozenset[str]
    program: str
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    fresh: bool
    """Whether every call gets an instance of its own."""
    memories: tuple[int, ...] | None = None
    """Of a component, as in `domain.sandboxes.Job`."""
    directory: Directory | None = None
    """Of the one instance, where it has one."""


@dataclass(slots=True)
class LeaseCall:
    """One call of a lease."""

    function: str
    arguments: tuple[int | float, ...]
    """Core values; empty where `typed` tells."""
    result_types: tuple[str, ...]
    limits: Limits
    typed: TypedCall | None = None


class LeaseSink(Protocol):
    """Who listens to a lease. Called on the event loop's thread, never after `over`."""

    def opened(self, end: RunEnd) -> None:
        """Take the end of what makes ready, once, before anything else; `over` follows one that is not OK."""

    def output(self, call: LeaseCall | None, pieces: Sequence[Output]) -> None:
        """Take output of a call, or of what makes ready, in order, as it arrives."""

    def answered(self, ends: Sequence[tuple[LeaseCall, RunEnd]]) -> None:
        """Take ends of calls, in their order."""

    def given_back(self, calls: Sequence[LeaseCall]) -> None:
        """Take calls back that have not begun, perhaps none: the one before them takes long, or they were dropped."""

    def hungry(self) -> None:
        """Take note that the guest waits for stdin: `Lease.feed` is due, once."""

    def spent(self, usage: Usage) -> None:
        """Take note of what the guest used besides its calls: what freeing objects took when the lease was closed."""

    def left(self, sizes: tuple[int, ...], *, whole: bool) -> None:
        """Take the sizes of the wanted files, -1 for none, all of which came as output: once, before `over`.

        `whole`: whether all that the guest left fit into the output limit. A guest that was killed leaves none.
        """

    def over(self, outcome: Outcome | None, usage: Usage) -> None:
        """Take note that the sandbox is gone, once: calls that were not answered have not begun, but for the first.

        `outcome` is what a kill named, or LOST; None where the last answer, or `close`, was the end. `usage` is what
        the guest used since its last answer.
        """


class Lease(Protocol):
    """A leased sandbox."""

    @property
    def open_calls(self) -> int:
        """How many calls were passed on and not answered."""

    def call(self, calls: Sequence[LeaseCall]) -> None:
        """Pass calls on, which run one after the other. Raises ValueError for text that has no encoding."""

    def feed(self, data: bytes, *, last: bool) -> None:
        """Pass the next bytes of stdin on, after `hungry`; at most 64 KiB."""

    def drop(self, call: LeaseCall) -> None:
        """Take a call back that may not have begun: if so, `given_back` follows."""

    def close(self) -> None:
        """End the lease while no call is open; a sandbox that kept an instance is not used again.

        A component frees its objects then, which may put out more, and has a second for that.
        """

    def kill(self, outcome: Outcome) -> None:
        """End the guest now; `over` follows. Harmless once it has ended."""
