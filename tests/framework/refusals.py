"""What a refused call tells, unpacked, and calls of any method by its descriptor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any, cast

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2

from hibana.v1 import admin_pb2, executor_pb2, module_pb2, module_registry_pb2
from tests.framework.stubs import CALL_SECONDS

METHODS: tuple[MethodDescriptor, ...] = tuple(
    method
    for file in (module_registry_pb2, executor_pb2, admin_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
)
"""Every RPC of the contract."""

MAX_MESSAGE_BYTES = 1024
DETAILS = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused call."""

    code: grpc.StatusCode
    message: str
    reason: str
    """Empty where the transport refused, which knows no reasons."""
    metadata: dict[str, str] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    retry_after: float | None = None
    findings: tuple[module_pb2.Finding, ...] = ()
    quotas: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Name of a quota that is used up -> what is granted, what would have been used."""
    raw: bytes = b""
    """The details as they travelled."""

    @property
    def told(self) -> tuple[str, str]:
        """Return code and reason, for comparisons."""
        return self.code.name, self.reason


def unpack(error: grpc.aio.AioRpcError) -> Refusal:
    """Unpack an error, and fail the test where it does not keep the rules that hold for all errors."""
    raw: Any = next((value for key, value in error.trailing_metadata() if key == DETAILS), b"")
    status = status_pb2.Status.FromString(raw)
    info, fields, retry, findings = error_details_pb2.ErrorInfo(), [], None, []
    quota = error_details_pb2.QuotaFailure()
    for packed in status.details:
        if packed.Unpack(info):
            assert info.domain == "hibana"
        bad, delay, finding = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo(), module_pb2.Finding()
        if packed.Unpack(bad):
            fields = [violation.field for violation in bad.field_violations]
        packed.Unpack(quota)
        if packed.Unpack(delay):
            retry = delay.retry_delay.ToTimedelta().total_seconds()
        if packed.Unpack(finding):
            findings.append(finding)
    message = error.details() or ""
    if raw:
        assert status.code == error.code().value[0]
        assert status.message == message
        assert len(message.encode()) <= MAX_MESSAGE_BYTES
        assert "Traceback" not in message
    quotas = {v.quota_id: (float(v.quota_value), float(v.quota_dimensions["used"])) for v in quota.violations}
    return Refusal(
        error.code(), message, info.reason, dict(info.metadata), tuple(fields), retry, tuple(findings), quotas, raw
    )


async def ended(call: Any) -> None:
    """Wait for the end of a call of any kind. Raises what it ends with."""
    if hasattr(call, "__aiter__"):
        async for _ in call:
            pass
    else:
        await call


async def refused(call: Any) -> Refusal:
    """Wait for a call of any kind to be refused; one that is not fails the test."""
    try:
        await ended(call)
    except grpc.aio.AioRpcError as error:
        return unpack(error)
    pytest.fail("the call was not refused")


def path(method: MethodDescriptor) -> str:
    """Spell the HTTP path of a method."""
    return f"/{method.containing_service.full_name}/{method.name}"


def call(
    channel: grpc.aio.Channel,
    method: MethodDescriptor,
    request: Message | bytes,
    metadata: Iterable[tuple[str, str | bytes]] = (),
) -> AsyncIterator[Message]:
    """Call any method with one message; on the wire every kind of RPC is a stream each way.

    Message and end of the stream travel together: a client of grpc.aio that still writes when the service has refused
    the call may see INTERNAL instead of the refusal.
    """

    def serialize(message: Message | bytes) -> bytes:
        return message if isinstance(message, bytes) else message.SerializeToString()

    multi: Any = channel.unary_stream(
        path(method),
        request_serializer=serialize,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    return cast("AsyncIterator[Message]", multi(request, metadata=tuple(metadata), timeout=CALL_SECONDS))
