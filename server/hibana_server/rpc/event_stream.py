"""Writing events to a reader that may take nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from google.protobuf.message import Message

READER_SECONDS = 10.0
"""Time a reader of events may take nothing before it loses the stream."""


class NothingReadError(Exception):
    """The reader of a stream took nothing for READER_SECONDS."""


async def write(context: grpc.aio.ServicerContext[Any, Any], message: Message) -> None:
    """Write one message. Raises NothingReadError, and CancelledError when the reader has gone."""
    try:
        async with asyncio.timeout(READER_SECONDS):
            await context.write(message)
    except TimeoutError:
        raise NothingReadError from None
    except grpc.aio.InternalError:
        # The caller went away while the write waited; that is told in this way, before the cancellation comes.
        raise asyncio.CancelledError from None
