"""What every session has: calls that wait their turn, answers that wait to be taken, and an end."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from hibana_server.domain.access import Action, require, unknown
from hibana_server.domain.callers import Caller
from hibana_server.domain.errors import HibanaError, Internal, Invalid, Unauthenticated, Unavailable
from hibana_server.domain.executions import Failure, Limits, Outcome, RunEnd
from hibana_server.domain.modules import Module, Status
from hibana_server.services.calls import DEFAULT_FUNCTION, MIN_TIMEOUT
from hibana_server.services.executions import Executions
from hibana_server.services.metering import Account
from hibana_server.services.outbox import Outbox
from hibana_server.services.session_calls import CANCELLED, Asked, Entry, Opening, Refused, Told, not_run
from hibana_server.services.session_input import CallIds
from hibana_server.services.targets import Target

log = structlog.get_logger("hibana.executions")

MAX_WAITING = 1024
"""Calls of a session that wait here; past it nothing more is read from the stream."""
MAX_WAITING_BYTES = 8 * 1024 * 1024
_ENDS_AT_ONCE = frozenset({"TOKEN_REVOKED", "TOKEN_INVALID"})
"""Reasons for which credentials do not hold that are somebody's doing. What was called before they expired was called
rightly, and goes on."""
_JUDGED_SECONDS = 1.0
"""Time after which a caller is judged anew though nothing has changed: an issuer may have replaced its keys, and a key
is used."""
_OVERHEAD = 256
"""Bytes that a waiting call counts besides those of its message."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What sessions may use."""

    sessions: int
    """Kept instances at the same time."""
    sessions_of_caller: int
    idle_seconds: float = 60.0
    max_seconds: float = 3600.0
    guest_seconds: float = 300.0
    input_bytes: int = 256 * 1024 * 1024
    concurrency: int = 8


class Session(ABC):
    """A session that is open. Whoever opened it takes what it tells (`next`) and says `leave` when its caller goes.

    Requests come one after the other, each awaited: that they wait is the back pressure on the stream.
    """

    def __init__(
        self,
        opening: Opening,
        target: Target,
        seen: int,
        limits: Limits,
        bounds: Bounds,
        executions: Executions,
        account: Account,
        expires: float,
    ) -> None:
        self.caller: Caller = opening.caller
        self._opening = opening
        self._target = target
        self._seen = seen
        """Generation of the registry that access was judged by last."""
        self._limits = limits
        usual = max(MIN_TIMEOUT, min(target.ceiling.timeout, limits.timeout))
        self._usual_limits = Limits(limits.memory_bytes, usual, limits.output_bytes)
        """Of a call that asks for none of its own."""
        self._bounds = bounds
        self._executions = executions
        self._account = account
        self._outbox = Outbox(self._pump)
        self._waiting: deque[Entry] = deque()
        self._waiting_bytes = 0
        self._entries: dict[int, Entry] = {}
        """Calls that were not answered, by id."""
        self._ids = CallIds()
        self._input_left = bounds.input_bytes
        self._no_more = False
        """Whether the caller sends nothing more."""
        self._room: asyncio.Future[None] | None = None
        """The caller waits for it."""
        self._active = time.monotonic()
        """When something was called or answered last."""
        self._until = self._active + bounds.max_seconds
        self._expires = expires
        """Until when the caller's credentials hold, seconds since 1970."""
        self._judged_until = 0.0
        """Until when nobody is judged anew unless something changes."""
        self._ending: tuple[Outcome, Failure | None] | None = None
        """How the session ends, once that is known."""
        self._last: tuple[Outcome, Failure] | None = None
        """How it ends when all that was called is answered, where that is not for its caller to say."""
        self._refusal: HibanaError | None = None
        """The same, as calls that come until then are told."""
        self._error: HibanaError | None = None
        """Ends the stream itself."""
        self._idle_seconds = min(opening.idle_seconds or bounds.idle_seconds, bounds.idle_seconds)
        self._timer = self._look_in(self._idle_seconds)

    @property
    @abstractmethod
    def uid(self) -> str:
        """Uid of the session's execution; empty where every call is one of its own."""

    @property
    def module_uid(self) -> str:
        """Uid of the module that runs."""
        return self._target.module.uid

    # ------------------------------------------------------------ asked by the caller

    async def calls(self, asked: Sequence[Asked]) -> None:
        """Take calls, in order, as soon as there is room for them. Raises Invalid for ids that tell nothing apart."""
        if self._is_full():
            await self._wait_for_room()
        self._active = now = time.monotonic()
        refusal = None
        if now >= self._judged_until or not self._executions.as_before(self._seen):
            refusal = await self._judge()
        size = sum(each.size for each in asked)
        self._take_input(size)
        for each in asked:
            self._ids.take(each.call_id)
            entry = Entry(each)
            self._entries[each.call_id] = entry
            self._waiting.append(entry)
            self._waiting_bytes += self._weight(entry)
            if refusal is None:
                self._prepare(entry)
            else:
                entry.error = refusal
        if refusal is None:
            self._pump()
        else:
            self._go_on(refusal)

    async def stdin(self, data: bytes) -> None:
        """Take the next bytes of stdin, as soon as there is room for them. Raises Invalid where there is no stdin."""
        raise Invalid.field(
            "stdin",
            "is for one instance that is kept; calls with an instance of their own have none",
            reason="STREAM_ORDER",
        )

    @abstractmethod
    def end_stdin(self) -> None:
        """Take note that stdin ends."""

    def cancel(self, call_id: int) -> None:
        """Cancel a call; harmless for one that has ended, or that never was."""
        entry = self._entries.get(call_id)
        if entry is not None and not entry.cancelled:
            entry.cancelled = True
            self._cancel(entry)
            self._pump()

    def finish(self) -> None:
        """Take note that the caller sends nothing more: the session ends when everything is answered."""
        self._no_more = True
        self.end_stdin()
        self._pump()

    def fail(self, error: Exception) -> None:
        """End the session and its stream, for what its caller did wrong; anything else is a defect."""
        # Without its traceback, whose frames hold a message of megabytes, perhaps, for as long as the session.
        self._error = (error if isinstance(error, HibanaError) else self._defect(error)).with_traceback(None)
        self.leave()

    @abstractmethod
    def leave(self) -> None:
        """End everything at once: nobody listens any more."""

    async def next(self) -> list[Told]:
        """Return what there is to tell, empty at the end. Raises what ends the stream."""
        told = await self._outbox.take()
        if self._error is not None:
            raise self._error
        return told

    # ------------------------------------------------------------ inside

    @abstractmethod
    def _pump(self) -> None:
        """Let calls begin that may, and end the session when there is nothing more to do."""

    @abstractmethod
    def _cancel(self, entry: Entry) -> None:
        """Take note that a call was cancelled, wherever it is on its way."""

    @abstractmethod
    def _end(self, outcome: Outcome, failure: Failure | None) -> None:
        """End the session: calls that have not begun never will."""

    @property
    @abstractmethod
    def _busy(self) -> bool:
        """Whether a call runs or waits."""

    def _prepare(self, entry: Entry) -> None:
        """Judge a call; what is wrong with it is its answer."""
        asked = entry.asked
        try:
            self._account.request()
            self._account.check_cpu()
            if isinstance(asked.arguments, HibanaError):
                raise asked.arguments
            entry.function = function = self._target.function(
                asked.function or DEFAULT_FUNCTION, kept=not self._opening.fresh
            )
            entry.arguments = function.values(asked.arguments)
        except HibanaError as error:
            entry.error = error

    def _call_limits(self, entry: Entry) -> Limits:
        """Return the limits of a call: the lowest of module, session, call and deadline."""
        usual, asked = self._usual_limits, entry.asked
        if asked.timeout is None and asked.memory_bytes is None and self._opening.deadline is None:
            return usual
        timeout = usual.timeout
        if asked.timeout is not None:
            timeout = min(timeout, asked.timeout)
        deadline = self._opening.deadline
        if deadline is not None:
            left = deadline - time.monotonic()
            timeout = min(timeout, left - max(0.05, left * 0.05))
        memory = usual.memory_bytes
        if asked.memory_bytes is not None:
            memory = min(memory, asked.memory_bytes)
        return Limits(memory, max(timeout, MIN_TIMEOUT), usual.output_bytes)

    async def _judge(self) -> HibanaError | None:
        """Return why the caller may call nothing now: nothing may begin, or it may not run the module any more."""
        if self._ending is not None or self._refusal is not None:
            return self._refusal
        self._judged_until = 0.0
        try:
            self._executions.check_admitting()
            self._expires = await self._opening.check_credentials()
            self._seen = await self._executions.check_access(self.caller, self._opening.reference, self._seen)
            self._judged_until = time.monotonic() + min(_JUDGED_SECONDS, self._expires - time.time())
        except Unavailable as error:
            return error
        except HibanaError as error:
            log.info("session_revoked", execution=self.uid, caller=self.caller.subject, reason=error.reason)
            self._let_end(error)
            return error
        return None

    def _go_on(self, refusal: HibanaError | None) -> None:
        """Go on after the caller was judged. Whoever lost the credentials loses also what runs for them."""
        if refusal is not None and refusal.reason in _ENDS_AT_ONCE and self._last is not None:
            self._end(*self._last)
        self._pump()

    def module_gone(self, module: Module | None) -> None:
        """End everything at once: the module, which is like this now, runs no more."""
        try:
            if module is None or module.status is Status.DELETED:
                raise unknown()
            require(self.caller, Action.EXECUTE, module)
        except HibanaError as error:
            self._end(*self._let_end(error))

    async def judge(self) -> None:
        """Judge the caller anew where the registry has changed; what it called before goes on."""
        if self._ending is None and self._executions.changed_since(self._seen):
            self._go_on(await self._judge())

    def stop(self) -> None:
        """Take note that the service stops: what was called goes on, and then the session ends."""
        self._let_end(Unavailable("the service is stopping; open a session again in a moment", retry_after=1.0))
        self._pump()

    def _let_end(self, error: HibanaError) -> tuple[Outcome, Failure]:
        """Let the session end when all that was called is answered; return how, which the first to say so decides."""
        self._judged_until = 0.0
        if self._last is None:
            self._last, self._refusal = (Outcome.CANCELLED, Failure(error.reason, error.message)), error
        return self._last

    def _take_input(self, size: int) -> None:
        self._input_left -= size
        if self._input_left < 0:
            raise Invalid(
                f"a session takes {self._bounds.input_bytes} bytes of input in all; open another one",
                reason="INPUT_TOO_LARGE",
            )

    async def _wait_for_room(self) -> None:
        while self._ending is None and self._is_full():
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def _is_full(self) -> bool:
        return len(self._waiting) >= MAX_WAITING or self._waiting_bytes >= MAX_WAITING_BYTES

    def _make_room(self) -> None:
        room = self._room
        if room is not None and (self._ending is not None or not self._is_full()):
            self._room = None
            if not room.done():
                room.set_result(None)

    def _out_of_queue(self) -> Entry:
        entry = self._waiting.popleft()
        self._waiting_bytes -= self._weight(entry)
        return entry

    @staticmethod
    def _weight(entry: Entry) -> int:
        return entry.asked.size + _OVERHEAD

    @staticmethod
    def _now() -> float:
        return time.monotonic()

    @staticmethod
    def _defect(error: BaseException) -> HibanaError:
        log.error("defect", exc_info=error)
        return Internal("a defect of the service ended the session; its log tells more")

    def _refuse(self, entry: Entry) -> None:
        """Answer a call that never runs."""
        call_id = entry.asked.call_id
        del self._entries[call_id]
        if entry.cancelled or entry.error is None:
            self._tell_end(entry, not_run(CANCELLED))
        else:
            self._outbox.put(Refused(call_id, entry.error))

    @abstractmethod
    def _tell_end(self, entry: Entry, end: RunEnd) -> None:
        """Tell how a call ended, which is none of `_entries` any more."""

    def _look(self) -> None:
        """End the session when nothing was called for too long, or when it is too old."""
        if self._ending is not None:
            return
        now, expires = time.monotonic(), self._expires - time.time()
        if expires <= 0 and self._last is None:
            text = "the credentials of the session have expired; open another session with new ones"
            self._let_end(Unauthenticated(text, reason="TOKEN_EXPIRED"))
            self._pump()
        if now >= self._until:
            text = f"the session was open for {self._bounds.max_seconds:g} s; open another one"
            self._end(Outcome.CANCELLED, Failure("SESSION_AGE", text))
            return
        left = self._idle_seconds if self._busy else self._active + self._idle_seconds - now
        if left <= 0:
            text = f"nothing was called for {self._idle_seconds:g} s; open another session"
            self._end(Outcome.CANCELLED, Failure("SESSION_IDLE", text))
            return
        if self._ending is None:
            self._timer = self._look_in(min(left, self._until - now))

    def _look_in(self, seconds: float) -> asyncio.TimerHandle:
        if self._last is None:  # else their end was told already
            seconds = min(seconds, max(0.0, self._expires - time.time()))
        return asyncio.get_running_loop().call_later(seconds, self._look)
