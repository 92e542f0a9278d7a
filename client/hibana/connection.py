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

from hibana import __version__, errors
from hibana.config import Settings
from hibana.status import translate
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

_OPTIONS = (
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.primary_user_agent", f"hibana-python/{__version__}"),
)


class Retry(Enum):
    """When a failed call is made again."""

    REPEATABLE = "repeatable"
    """Calls that may be made twice (reads, uploads): also when the connection broke."""
    NOT_RUN = "not run"
    """Calls that run a guest: only when the service says that nothing was run."""


class Connection:
    """A channel with the caller's credentials. Opened at the first call, in the loop of that call."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._channel: grpc.aio.Channel | None = None
        self._upload_channel: grpc.Channel | None = None
        self._closed = False

    def metadata(self) -> Metadata:
        """Return the metadata of a new call: its request id, which the service logs, and the credentials."""
        token = self._settings.token
        request = ("x-request-id", uuid.uuid4().hex)
        return (request, ("authorization", f"Bearer {token}")) if token else (request,)

    @property
    def registry(self) -> Any:
        """Return the stub of ModuleRegistry."""
        return ModuleRegistryStub(self._open())

    @property
    def executor(self) -> Any:
        """Return the stub of Executor."""
        return ExecutorStub(self._open())

    @property
    def uploads(self) -> Any:
        """Return the stub of ModuleRegistry in gRPC's synchronous API; `hibana.upload` tells why."""
        self._check_open()
        if self._upload_channel is None:
            self._upload_channel = _channel(self._settings, grpc)
        return ModuleRegistryStub(self._upload_channel)

    def _open(self) -> grpc.aio.Channel:
        self._check_open()
        if self._channel is None:
            self._channel = _channel(self._settings, grpc.aio)
        return self._channel

    def _check_open(self) -> None:
        if self._closed:
            raise errors.ConfigError("the client is closed", next_step="make a new Client")

    async def unary(
        self, method: Callable[..., Any], request: Any, *, timeout: float = DEFAULT_TIMEOUT, retry: Retry
    ) -> Any:
        """Make a unary call and return the answer. `timeout` in seconds covers all attempts."""

        async def attempt(left: float, metadata: Metadata) -> Any:
            return await method(request, timeout=left, metadata=metadata)

        return await self.attempts(attempt, timeout=timeout, retry=retry)

    async def attempts(self, attempt: Callable[[float, Metadata], Awaitable[T]], *, timeout: float, retry: Retry) -> T:
        """Call `attempt(seconds left, metadata)` until it succeeds or trying again is of no use.

        Pauses grow from 0.1 s, with jitter, and are never shorter than the service asks for.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        metadata = self.metadata()
        for number in range(1, MAX_ATTEMPTS + 1):
            try:
                return await attempt(max(end - loop.time(), 0.0), metadata)
            except grpc.RpcError as error:
                failed = translate(error, metadata[0][1])
            pause = _pause(failed, retry, number)
            if pause is None or number == MAX_ATTEMPTS or loop.time() + pause >= end:
                raise failed from None
            await asyncio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    async def close(self) -> None:
        """Close the channel; running calls are cancelled. Safe to call twice."""
        self._closed = True
        if self._upload_channel is not None:
            self._upload_channel.close()
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close()


def _channel(settings: Settings, api: Any) -> Any:
    """Open a channel in one of gRPC's two APIs, `grpc` or `grpc.aio`."""
    if not settings.tls:
        # A proxy named in the environment would see the token: what goes in clear goes direct.
        return api.insecure_channel(settings.target, options=[*_OPTIONS, ("grpc.enable_http_proxy", 0)])
    roots = None
    if settings.ca_file:
        try:
            with open(settings.ca_file, "rb") as file:  # noqa: PTH123 - a few kilobytes, once
                roots = file.read()
        except OSError as error:
            raise errors.ConfigError(f"the certificate file {settings.ca_file} cannot be read: {error}") from None
    return api.secure_channel(settings.target, grpc.ssl_channel_credentials(roots), options=_OPTIONS)


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
    return max(grown, asked or 0.0)
