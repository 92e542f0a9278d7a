"""The part of the Executor service that keeps a stream open for many calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import grpc

from hibana.v1 import executor_pb2 as pb
from hibana.v1 import executor_pb2_grpc as pb_grpc
from hibana_server.auth.held_token import HeldToken
from hibana_server.auth.tokens import TokenVerifier
from hibana_server.domain.alarms import Alarms
from hibana_server.domain.errors import Conflict, Invalid
from hibana_server.rpc.calls import CURRENT, current_caller
from hibana_server.rpc.event_stream import READER_SECONDS, NothingReadError, Writer
from hibana_server.rpc.pack_sessions import pack_all, pack_each, unpack_calls, unpack_opening
from hibana_server.services.session import Session
from hibana_server.services.sessions import Sessions

Context = grpc.aio.ServicerContext[Any, Any]

_FIRST_SECONDS = 10.0
"""Time in which a session is opened."""
_LINGER_SECONDS = 1.0
"""Time in which a session that has ended still reads, unless its caller closes the sending side. Clients of grpc that
are writing when a stream ends lose what they have not read of it, and so the last answers."""
_SURE_READS = 3
"""Reads behind the end of the requests. They end in the same way for a caller who closes the sending side and for one
who has hung up, which grpc tells right behind; so whoever has is cancelled before a further read is answered. One would
do but for two threads of grpc that may pass each other."""


class SessionMethods(pb_grpc.ExecutorServicer):
    """Unpacks, calls the service, packs."""

    _sessions: Sessions
    _verifier: TokenVerifier
    _alarms: Alarms
    """Of readers that take nothing."""

    # Writes to the context instead of yielding: only so can a reader that takes nothing be noticed.
    async def Session(  # type: ignore[override]
        self, request_iterator: AsyncIterator[pb.SessionRequest], context: Context
    ) -> None:
        """Serve a session; closing the call ends it."""
        first = await _first(request_iterator)
        if first is None or first.WhichOneof("message") != "open":
            raise Invalid.field("open", "comes first; send it, then calls", reason="STREAM_ORDER")
        left: float | None = context.time_remaining()
        current = CURRENT.get()
        opening = unpack_opening(first.open, current_caller(), None if left is None else time.monotonic() + left)
        if current.token:
            opening.credentials = HeldToken(self._verifier, current.token)
        if current.traceparent and (parent := current.parent):
            opening.trace_id = parent.trace_id
        session = await self._sessions.open(opening)
        current.execution = session.uid
        over = asyncio.Event()
        reading = asyncio.create_task(_read(request_iterator, session, over, context))
        pack = pack_all if first.open.batch_answers else pack_each
        try:
            writer = Writer(context, self._alarms)
            while told := await session.next():
                for message in pack(told):
                    await writer.write(message)
            over.set()
            self._sessions.closed(session)
            await asyncio.wait([reading], timeout=_LINGER_SECONDS)
        except NothingReadError:
            raise Conflict(
                f"nothing was read for {READER_SECONDS:g} s, so the session ended; read answers while you send calls",
                reason="READER_TOO_SLOW",
            ) from None
        finally:
            self._sessions.closed(session)
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading


async def _first(requests: AsyncIterator[pb.SessionRequest]) -> pb.SessionRequest | None:
    """Wait for the first message; a stream that says nothing holds a place of its connection."""
    try:
        async with asyncio.timeout(_FIRST_SECONDS):
            return await anext(requests, None)
    except TimeoutError:
        raise Invalid.field(
            "open", f"did not come within {_FIRST_SECONDS:g} s; send it at once, then calls", reason="STREAM_ORDER"
        ) from None


async def _read(
    requests: AsyncIterator[pb.SessionRequest], session: Session, over: asyncio.Event, context: Context
) -> None:
    """Pass what the caller sends to the session, until it sends nothing more or something wrong.

    What comes when all is `over` is dropped.
    """
    try:
        async for request in requests:
            if over.is_set():
                continue
            match request.WhichOneof("message"):
                case "calls":
                    await session.calls(unpack_calls(request.calls))
                case "stdin":
                    await session.stdin(request.stdin)
                case "stdin_end":
                    session.end_stdin()
                case "cancel_call_id":
                    session.cancel(request.cancel_call_id)
                case "open":
                    raise Invalid.field(
                        "open", "comes once; open another stream for another session", reason="STREAM_ORDER"
                    )
                case _:
                    raise Invalid("the message is empty; send calls, stdin, stdin_end or cancel_call_id")
        for _ in range(_SURE_READS):
            await context.read()
        session.finish()
    except asyncio.CancelledError:
        raise
    except Exception as error:  # noqa: BLE001 - raised where the stream is answered
        session.fail(error)
