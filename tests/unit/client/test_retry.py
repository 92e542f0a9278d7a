"""Which calls are made again, and when."""

from __future__ import annotations

import grpc
import grpc.aio
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

import hibana
from hibana import connection
from hibana.config import Settings
from hibana.connection import MAX_ATTEMPTS, Connection, Metadata, Retry


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_FIRST_PAUSE", 0.0)


@pytest.fixture
def subject() -> Connection:
    return Connection(Settings(target="127.0.0.1:1", tls=False, token="", ca_file=""))


def transport(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details="")


def service(code: grpc.StatusCode, reason: str, retry: float | None) -> grpc.aio.AioRpcError:
    status = status_pb2.Status()
    details: list[error_details_pb2.ErrorInfo | error_details_pb2.RetryInfo] = [
        error_details_pb2.ErrorInfo(reason=reason, domain="hibana")
    ]
    if retry is not None:
        details.append(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=int(retry))))
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    trailing = grpc.aio.Metadata(("grpc-status-details-bin", status.SerializeToString()))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details="")


U, R = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("error", "retry", "attempts"),
    [
        (transport(U), Retry.REPEATABLE, MAX_ATTEMPTS),
        (transport(U), Retry.NOT_RUN, 1),
        (service(U, "SERVICE_UNAVAILABLE", 0), Retry.REPEATABLE, MAX_ATTEMPTS),
        (service(U, "SERVICE_UNAVAILABLE", 0), Retry.NOT_RUN, MAX_ATTEMPTS),
        (service(R, "QUEUE_FULL", 0), Retry.NOT_RUN, MAX_ATTEMPTS),
        (service(R, "QUEUE_FULL", 3600), Retry.NOT_RUN, 1),
        (service(R, "QUEUE_FULL", None), Retry.NOT_RUN, 1),
        (service(R, "QUOTA_EXCEEDED", 0), Retry.REPEATABLE, 1),
        (service(R, "MESSAGE_TOO_LARGE", 0), Retry.REPEATABLE, 1),
        (transport(grpc.StatusCode.DEADLINE_EXCEEDED), Retry.REPEATABLE, 1),
        (transport(grpc.StatusCode.INTERNAL), Retry.REPEATABLE, 1),
        (service(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", 0), Retry.REPEATABLE, 1),
    ],
)
async def test_a_call_is_repeated_only_where_that_is_safe(
    error: grpc.aio.AioRpcError, retry: Retry, attempts: int, subject: Connection
) -> None:
    made = 0

    async def attempt(_left: float, _metadata: Metadata) -> None:
        nonlocal made
        made += 1
        raise error

    with pytest.raises(hibana.HibanaError):
        await subject.attempts(attempt, timeout=30, retry=retry)
    assert made == attempts


async def test_the_answer_of_a_later_attempt_counts(subject: Connection) -> None:
    errors = [transport(U), transport(U)]
    left_at: list[float] = []

    async def attempt(left: float, _metadata: Metadata) -> str:
        left_at.append(left)
        if errors:
            raise errors.pop()
        return "answer"

    assert await subject.attempts(attempt, timeout=30, retry=Retry.REPEATABLE) == "answer"
    assert left_at == sorted(left_at, reverse=True)
    assert left_at[0] <= 30


async def test_no_attempt_is_made_past_the_deadline(subject: Connection) -> None:
    made = 0

    async def attempt(_left: float, _metadata: Metadata) -> None:
        nonlocal made
        made += 1
        raise service(U, "SERVICE_UNAVAILABLE", 2)

    with pytest.raises(hibana.Unavailable):
        await subject.attempts(attempt, timeout=1, retry=Retry.REPEATABLE)
    assert made == 1


async def test_a_closed_client_says_so() -> None:
    client = hibana.Client("127.0.0.1:1")
    await client.close()
    await client.close()
    with pytest.raises(hibana.ConfigError, match="closed"):
        await client.module("user/x")
