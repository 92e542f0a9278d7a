"""Typed stubs of every service, speaking for one caller."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import grpc
from grpc_health.v1 import health_pb2_grpc

from hibana.v1 import admin_pb2_grpc, executor_pb2, executor_pb2_grpc, module_registry_pb2_grpc

CALL_SECONDS = 30.0
"""Deadline of calls that name none: a hanging service fails the test instead of stopping the suite."""

OPTIONS = (
    ("grpc.max_send_message_length", 32 * 1024 * 1024),
    ("grpc.max_receive_message_length", 32 * 1024 * 1024),
    # Channels of one process would share a connection, and with it what a test does to it.
    ("grpc.use_local_subchannel_pool", 1),
)


SMALL_WINDOW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65536))
"""A window that does not grow: what the service sends beyond it waits for the reader."""


@dataclass(frozen=True, slots=True)
class Stubs:
    """What one caller calls. Every method takes `metadata` and `timeout` as gRPC's own do."""

    subject: str
    channel: grpc.aio.Channel
    metadata: tuple[tuple[str, str], ...]
    """What every call carries."""
    registry: module_registry_pb2_grpc.ModuleRegistryAsyncStub
    executor: executor_pb2_grpc.ExecutorAsyncStub
    admin: admin_pb2_grpc.AdminAsyncStub
    health: Any

    async def close(self) -> None:
        """Close the channel; calls on their way are cancelled."""
        await self.channel.close()


class _Speaking:
    """A stub whose methods carry metadata and a deadline unless the call brings its own."""

    def __init__(self, stub: Any, **defaults: Any) -> None:
        self._stub = stub
        self._defaults = defaults

    def __getattr__(self, name: str) -> Any:
        return functools.partial(getattr(self._stub, name), **self._defaults)


def connect(
    address: str,
    token: str | None,
    subject: str = "",
    wrap: Callable[[grpc.aio.Channel], grpc.aio.Channel] = lambda channel: channel,
    options: tuple[tuple[str, int], ...] = (),
) -> Stubs:
    """Open a channel of its own; `token` None sends no credentials, `wrap` may put something around the channel."""
    channel = wrap(grpc.aio.insecure_channel(address, options=(*OPTIONS, *options)))
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)

    def speaking(stub: Any) -> Any:
        return _Speaking(stub, metadata=metadata, timeout=CALL_SECONDS)

    return Stubs(
        subject=subject,
        channel=channel,
        metadata=metadata,
        registry=cast(
            "module_registry_pb2_grpc.ModuleRegistryAsyncStub",
            speaking(module_registry_pb2_grpc.ModuleRegistryStub(channel)),
        ),
        executor=cast("executor_pb2_grpc.ExecutorAsyncStub", speaking(executor_pb2_grpc.ExecutorStub(channel))),
        admin=cast("admin_pb2_grpc.AdminAsyncStub", speaking(admin_pb2_grpc.AdminStub(channel))),
        health=_Speaking(health_pb2_grpc.HealthStub(channel), timeout=CALL_SECONDS),
    )


EXECUTION_KEY = "hibana-execution"
INVOKE = "/hibana.v1.Executor/Invoke"


async def start_invoke(stubs: Stubs, request: executor_pb2.InvokeRequest) -> tuple[str, Any]:
    """Start an Invoke that runs for a while; return the execution's name and the call, whose `read` gives the answer.

    On the wire an Invoke is a stream of one answer. Called as such, grpc.aio hands out the initial metadata when they
    come; its calls of one answer keep them until the end.
    """
    multi: Any = stubs.channel.unary_stream(
        INVOKE,
        request_serializer=executor_pb2.InvokeRequest.SerializeToString,
        response_deserializer=executor_pb2.InvokeResponse.FromString,
    )
    call = multi(request, metadata=stubs.metadata, timeout=CALL_SECONDS)
    return str(dict(await call.initial_metadata())[EXECUTION_KEY]), call
