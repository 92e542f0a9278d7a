"""What callers use within a minute, counted in memory on the event loop's thread.

A window holds the current second and the 60 before it, so that no minute, wherever it begins, has more than
a quota grants. Nothing here is stored: a restart forgets the last minute.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from hibana_server.domain.callers import Caller, Role
from hibana_server.domain.errors import Exhausted, QuotaViolation
from hibana_server.domain.quotas import FULL_RETRY, Quota, exceeded

WINDOW = 60
"""Whole seconds that count besides the current one."""
MANY = 10_000
"""Accounts past which those that have nothing to tell are dropped."""
_NO_BOUND = float("inf")


class Window:
    """A sum over the last minute, kept by whole seconds."""

    __slots__ = ("_part", "_parts", "_second", "total")

    def __init__(self) -> None:
        self._second = -1
        self._part: list[float] = [-1, 0.0]
        """Of that second: [second, sum]."""
        self._parts = deque([self._part])
        """This one, and those before it with anything."""
        self.total = 0.0

    def move(self, second: int) -> None:
        """Forget what is older than a minute at this second."""
        parts = self._parts
        if not self._part[1]:
            parts.pop()
        while parts and parts[0][0] < second - WINDOW:
            self.total -= parts.popleft()[1]
        if not parts:
            self.total = 0.0  # without what adding and taking away floats has left
        self._second = second
        self._part = [second, 0.0]
        parts.append(self._part)

    def add(self, second: int, amount: float) -> float:
        """Add to the sum and return it; `second` is that of the last `move` or a later one."""
        if second != self._second:
            self.move(second)
        self._part[1] += amount
        self.total += amount
        return self.total

    def at(self, second: int) -> float:
        """Return the sum at this second."""
        if second != self._second:
            self.move(second)
        return self.total

    def free_in(self, second: int, limit: float) -> float:
        """Return after how many seconds the sum will be below a limit; for one that is not now."""
        left = self.at(second)
        for when, amount in self._parts:
            left -= amount
            if left < limit:
                return when + WINDOW + 1 - second
        return WINDOW + 1.0


class Account:
    """What one subject uses, and what it may."""

    __slots__ = ("cpu", "cpu_limit", "requests", "requests_limit", "role", "running", "running_limit", "subject")

    def __init__(self, subject: str, role: Role, quota: Quota) -> None:
        self.subject = subject
        self.requests = Window()
        self.cpu = Window()
        """Seconds."""
        self.running = 0
        """Executions that run or wait."""
        self.bound(role, quota)

    def bound(self, role: Role, quota: Quota) -> None:
        """Take what the subject may use from now on."""
        self.role = role
        self.requests_limit = _bound(quota.max_requests_per_minute)
        self.cpu_limit = _bound(quota.max_cpu_per_minute)
        self.running_limit = _bound(quota.max_concurrent_executions)

    def request(self) -> None:
        """Count a request. Raises Exhausted(QUOTA_EXCEEDED)."""
        second = int(time.monotonic())
        requests, limit = self.requests, self.requests_limit
        if requests.add(second, 1) > limit:
            requests.add(second, -1)
            raise self._used_up("max_requests_per_minute", limit, requests.free_in(second, limit))

    def begin(self) -> None:
        """Count an execution; `end` follows whatever becomes of it. Raises Exhausted(QUOTA_EXCEEDED)."""
        if self.running >= self.running_limit:
            raise exceeded(
                [QuotaViolation(self.subject, "max_concurrent_executions", self.running_limit, self.running + 1)],
                "wait for one to end",
                retry_after=FULL_RETRY,
            )
        self.check_cpu()
        self.running += 1

    def check_cpu(self) -> None:
        """Raise Exhausted(QUOTA_EXCEEDED) where the CPU time of this minute is used up."""
        if self.cpu_limit == _NO_BOUND:
            return
        second = int(time.monotonic())
        if self.cpu.at(second) >= self.cpu_limit:
            raise self._used_up("max_cpu_per_minute", self.cpu_limit, self.cpu.free_in(second, self.cpu_limit))

    def charge(self, seconds: float) -> None:
        """Count CPU time of a guest."""
        self.cpu.add(int(time.monotonic()), seconds)

    def end(self, seconds: float = 0.0) -> None:
        """Take note that an execution has ended, which used so much CPU time besides what was charged."""
        self.running -= 1
        if seconds:
            self.charge(seconds)

    def idle(self, second: int) -> bool:
        """Tell whether there is nothing to remember."""
        return not (self.running or self.requests.at(second) or self.cpu.at(second))

    def _used_up(self, name: str, limit: float, seconds: float) -> Exhausted:
        used = limit + 1 if name == "max_requests_per_minute" else max(self.cpu.total, limit)
        return exceeded(
            [QuotaViolation(self.subject, name, limit, used)],
            f"try again in {seconds:.0f} s, when a part of the last minute is over",
            retry_after=seconds,
        )


class Meter:
    """The accounts of those who called lately."""

    def __init__(self, quota_of: Callable[[str, Role], Quota]) -> None:
        """Take what tells the bounds of a subject that calls in a role."""
        self._quota_of = quota_of
        self._accounts: dict[str, Account] = {}
        self._swept = 0

    def __len__(self) -> int:
        return len(self._accounts)

    def account(self, caller: Caller) -> Account:
        """Return the account of a caller in the role in which it calls."""
        account = self._accounts.get(caller.subject)
        return account if account is not None and account.role is caller.role else self._open(caller)

    def known(self, subject: str) -> Account | None:
        """Return a subject's account."""
        return self._accounts.get(subject)

    def _open(self, caller: Caller) -> Account:
        quota, account = self._quota_of(caller.subject, caller.role), self._accounts.get(caller.subject)
        if account is not None:
            account.bound(caller.role, quota)
            return account
        if len(self._accounts) >= MANY:
            self._sweep()
        account = self._accounts[caller.subject] = Account(caller.subject, caller.role, quota)
        return account

    def _sweep(self) -> None:
        """Drop accounts that have nothing to tell; once a second at most, since it looks at all of them."""
        second = int(time.monotonic())
        if second == self._swept:
            return
        self._swept = second
        self._accounts = {name: each for name, each in self._accounts.items() if not each.idle(second)}


def _bound(limit: float | None) -> float:
    return _NO_BOUND if limit is None else limit
