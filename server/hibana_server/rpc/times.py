"""Times and durations between the domain's numbers and protobuf's messages."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp


def pack_time(microseconds: int | None) -> Timestamp | None:
    """Make a Timestamp of microseconds since 1970; None stays None (an unset field)."""
    if microseconds is None:
        return None
    seconds, rest = divmod(microseconds, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def unpack_time(time: Timestamp) -> int:
    """Return microseconds since 1970."""
    return time.seconds * 1_000_000 + time.nanos // 1000


def fill_nanoseconds(target: Duration, nanoseconds: int) -> None:
    """Set a Duration that is part of a message."""
    if nanoseconds < 1_000_000_000:
        target.nanos = nanoseconds
    else:
        target.seconds, target.nanos = divmod(nanoseconds, 1_000_000_000)


def pack_seconds(seconds: float) -> Duration:
    """Make a Duration of seconds."""
    whole, micros = divmod(round(seconds * 1_000_000), 1_000_000)
    return Duration(seconds=whole, nanos=micros * 1000)


def unpack_seconds(duration: Duration) -> float:
    """Return seconds."""
    return duration.seconds + duration.nanos / 1e9
