"""The channel to the service: opening, deadlines, credentials, retries."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, TypeVar

import grpc
import grpc.aio

from hibana import errors, tokens
from hibana.channels import open_channel
from hibana.config import Settings
from hibana.status import translate
from hibana.v1.admin_pb2_grpc import AdminStub
from hibana.v1.executor_pb2_grpc import ExecutorStub
from hibana.v1.module_registry_pb2_grpc import ModuleRegistryStub

T = TypeVar("T")
Metadata = tuple[tuple[str, str], ...]
"""Of one call; the request id comes first."""

DEFAULT_TIMEOUT = 30.0
"""Seconds a call that runs no guest may take, retries included."""

MAX_ATTEMPTS = 4
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0

_NOTHING_RAN = frozenset(
    {
        "SERVICE_UNAVAILABLE",
        "STORAGE_UNAVAILABLE",
        "DATABASE_UNAVAILABLE",
        "QUEUE_FULL",
        "COMPILE_QUEUE_FULL",
    }
)
"""Reasons after which the contract calls every RPC safe to retry."""


class Retry(Enum):
    """When a failed call is made again."""

    REPEATABLE = "repeatable"
    """Calls that may be made twice (reads; changes, by their request id): also when the connection broke."""
    NOT_RUN = "not run"
    """Calls that run a guest: only when the service says that nothing was run."""


class Connection:
    """A channel with the caller's credentials. Opened at the first call, in the loop of that call."""

    def __init__(self, settings: Settings, *, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Take the settings; `timeout` in seconds is that of calls which name none."""
        self._settings = settings
        self._timeout = timeout
        self._channel: grpc.aio.Channel | None = None
        self._upload_channel: grpc.Channel | None = None
        self._closed = False

    async def prepare(self, tries: Tries, request_id: str) -> tuple[float, Metadata]:
        """Return the seconds left for the next attempt, and its metadata.

        That is the request's id, which the service logs, and the credentials. The token is fetched
        within the time of the call: raises DeadlineExceeded when it does not come.
        """
        limit = asyncio.timeout(tries.left())
        try:
            async with limit:
                token = await tokens.fetch(self._settings.token)
        except TimeoutError:
            if not limit.expired():
                raise  # of the token function itself
            raise errors.DeadlineExceeded("no token came within the time given") from None
        request = ("x-request-id", request_id)
        return tries.left(), (request, ("authorization", f"Bearer {token}")) if token else (request,)

    @property
    def registry(self) -> Any:
        """Return the stub of ModuleRegistry."""
        return ModuleRegistryStub(self.channel)

    @property
    def executor(self) -> Any:
        """Return the stub of Executor."""
        return ExecutorStub(self.channel)

    @property
    def admin(self) -> Any:
        """Return the stub of Admin."""
        return AdminStub(self.channel)

    @property
    def uploads(self) -> Any:
        """Return the stub of ModuleRegistry in gRPC's synchronous API; `hibana.upload` tells why."""
        self._check_open()
        if self._upload_channel is None:
            self._upload_channel = open_channel(self._settings, grpc)
        return ModuleRegistryStub(self._upload_channel)

    @property
    def channel(self) -> grpc.aio.Channel:
        """Return the channel, opened now if it was not."""
        self._check_open()
        if self._channel is None:
            self._channel = open_channel(self._settings, grpc.aio)
        return self._channel

    def _check_open(self) -> None:
        if self._closed:
            raise errors.ConfigError("the client is closed", next_step="make a new Client")

    async def unary(
        self, method: Callable[..., Any], request: Any, *, timeout: float | None = None, retry: Retry = Retry.REPEATABLE
    ) -> Any:
        """Make a unary call and return the answer. `timeout` in seconds covers all attempts."""

        async def attempt(left: float, metadata: Metadata) -> Any:
            return await method(request, timeout=left, metadata=metadata)

        return await self.attempts(attempt, timeout=timeout, retry=retry)

    async def attempts(
        self,
        attempt: Callable[[float, Metadata], Awaitable[T]],
        *,
        timeout: float | None = None,
        retry: Retry = Retry.REPEATABLE,
    ) -> T:
        """Call `attempt(seconds left, metadata)` until it succeeds or trying again is of no use.

        Pauses grow from 0.1 s, with jitter, and are never shorter than the service asks for. No
        attempt begins after `timeout`, and none is begun that the next pause would carry past it.
        """
        tries = Tries(retry, self._timeout if timeout is None else timeout)
        request_id = new_request_id()
        while True:
            try:
                return await attempt(*await self.prepare(tries, request_id))
            except grpc.RpcError as error:
                failed = translate(error, request_id)
            await tries.pause_after(failed)

    async def close(self) -> None:
        """Close the channel; running calls are cancelled. Safe to call twice."""
        self._closed = True
        if self._upload_channel is not None:
            self._upload_channel.close()
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close()


class Tries:
    """The attempts of one call: how much time is left, and whether there is another after a failure."""

    def __init__(self, retry: Retry, timeout: float) -> None:
        self._retry = retry
        self._clock = asyncio.get_running_loop().time
        self._end = self._clock() + timeout
        self._made = 1

    def left(self) -> float:
        """Return the seconds left for the next attempt."""
        return max(self._end - self._clock(), 0.0)

    async def pause_after(self, failed: errors.HibanaError) -> None:
        """Wait until the next attempt is due. Raises the failure itself if there should be none."""
        pause = _pause(failed, self._retry, self._made)
        if pause is None or self._made == MAX_ATTEMPTS or self._clock() + pause >= self._end:
            raise failed
        self._made += 1
        await asyncio.sleep(pause)


def new_request_id() -> str:
    """Make an id that names one request, whatever the number of its attempts."""
    return uuid.uuid4().hex


def _pause(failed: errors.HibanaError, retry: Retry, number: int) -> float | None:
    """Return the seconds to wait before the next attempt; None if there should be none."""
    asked = failed.retry_after if isinstance(failed, errors.ServiceError) else None
    if isinstance(failed, errors.DeadlineExceeded):
        return None
    if isinstance(failed, errors.Unreachable):
        again = retry is Retry.REPEATABLE
    else:
        again = isinstance(failed, errors.ServiceError) and failed.reason in _NOTHING_RAN and asked is not None
    if not again or (asked is not None and asked > _LONGEST_PAUSE):
        return None
    grown: float = min(_FIRST_PAUSE * 2 ** (number - 1), _LONGEST_PAUSE) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
    # Never sooner than asked, and not all callers at the same moment.
    return max(grown, (asked or 0.0) * random.uniform(1.0, 1.25))  # noqa: S311 - jitter
