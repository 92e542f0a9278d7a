"""What happens around every RPC: identity, request checks, error map, log line, metrics.

One interceptor for all four kinds of RPC, because each further one costs every call. Credentials
are judged before the request is read, so that an unauthenticated caller cannot make the service
take in megabytes.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias, cast

import grpc
import structlog
from google.protobuf.message import DecodeError, Message

from hibana_server.auth.tokens import TokenVerifier
from hibana_server.domain.callers import Caller
from hibana_server.domain.errors import HibanaError, Internal, Invalid, Unauthenticated
from hibana_server.rpc.calls import CURRENT, CurrentCall
from hibana_server.rpc.errors import DETAILS_KEY, code_of, status_of
from hibana_server.rpc.validate import validate
from hibana_server.telemetry.metrics import Metrics

OPEN_SERVICES = ("/grpc.health.v1.Health/", "/grpc.reflection.")
"""Services that need no token."""

log = structlog.get_logger("hibana.rpc")

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context = grpc.aio.ServicerContext[Any, Any]
Read = Callable[[bytes], Message]
"""Makes a message of its bytes. Raises DecodeError."""

_REQUEST_ID = re.compile(r"[0-9A-Za-z._:-]{1,64}\Z", re.ASCII)
_MAKE_ONE = "send `authorization: Bearer TOKEN`; make a token with `hibana-server token --subject NAME`"


class Edge(grpc.aio.ServerInterceptor):
    """The interceptor."""

    def __init__(self, verifier: TokenVerifier, metrics: Metrics, *, access_log: bool) -> None:
        self._verifier = verifier
        self._metrics = metrics
        self._access_log = access_log
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Set the current call, or answer a call with bad credentials without reading its request."""
        method = str(handler_call_details.method)
        handler = await continuation(handler_call_details)
        if handler is None or method.startswith(OPEN_SERVICES):
            return handler
        authorization, request_id, count = "", "", 0
        for key, value in handler_call_details.invocation_metadata or ():
            if key == "authorization":
                authorization, count = str(value), count + 1
            elif key == "x-request-id" and isinstance(value, str) and _REQUEST_ID.match(value):
                request_id = value
        call = CurrentCall(method, request_id, None, time.perf_counter())
        try:
            call.caller = self._authenticate(authorization, count)
        except HibanaError as error:
            return self._refuse(call, error)
        CURRENT.set(call)
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            wrapped = self._wrapped[method] = self._wrap(handler)
        return wrapped

    def _authenticate(self, authorization: str, count: int) -> Caller:
        if count == 0:
            raise Unauthenticated(f"no credentials; {_MAKE_ONE}", reason="TOKEN_MISSING")
        if count > 1:
            raise Unauthenticated(f"several credentials in one call; {_MAKE_ONE}")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated(f"the credentials are not a bearer token; {_MAKE_ONE}")
        return self._verifier.verify(token.strip())

    def _refuse(self, call: CurrentCall, error: HibanaError) -> Handler:
        async def refuse(_requests: AsyncIterator[Any], context: Context) -> None:
            self._finish(call, code_of(error).name, error.reason)
            await _abort(context, error)

        # Whatever the kind of the RPC: a streaming handler is the one that grpc starts without reading a message.
        return grpc.stream_stream_rpc_method_handler(refuse)

    def _wrap(self, handler: Handler) -> Handler:
        methods = (handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream)
        inner: Any = next(m for m in methods if m is not None)
        read = cast("Read", handler.request_deserializer)

        async def serve(received: Any, context: Context) -> Any:
            call = CURRENT.get()
            code, reason = "OK", ""
            try:
                request = _each_read(received, read) if handler.request_streaming else _read(received, read)
                return await inner(request, context)
            except HibanaError as error:
                code, reason = code_of(error).name, error.reason
                await _abort(context, error)
            except asyncio.CancelledError:
                code = "CANCELLED"
                raise
            except grpc.aio.AbortError:
                code = context.code().name if hasattr(context.code(), "name") else "UNKNOWN"
                raise
            except Exception:
                log.exception("defect", method=call.method)
                code, reason = "INTERNAL", "INTERNAL"
                message = f"a defect of the service; its operator finds the cause under request id {call.request_id}"
                await _abort(context, Internal(message))
            finally:
                self._finish(call, code, reason)

        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[handler.request_streaming, handler.response_streaming]
        return make(
            serve,
            # Requests are read above: what grpc cannot read it answers with UNKNOWN and the exception's text.
            request_deserializer=None,
            response_serializer=handler.response_serializer,
        )

    def _finish(self, call: CurrentCall, code: str, reason: str) -> None:
        seconds = time.perf_counter() - call.started
        self._metrics.call(call.method, code, seconds)
        if code == "OK" and not self._access_log:
            return
        told = {"reason": reason} if reason else {}
        log.info("call", code=code, ms=round(seconds * 1000, 3), **told, **call.log_fields())


def _read(data: bytes, read: Read) -> Message:
    try:
        request = read(data)
    except DecodeError:
        raise Invalid("the bytes are not a message of this method; generate the client from the contract") from None
    validate(request)
    return request


async def _each_read(received: AsyncIterator[bytes], read: Read) -> AsyncIterator[Message]:
    async for data in received:
        yield _read(data, read)


async def _abort(context: Context, error: HibanaError) -> None:
    status = status_of(error)
    await context.abort(code_of(error), status.message, ((DETAILS_KEY, status.SerializeToString()),))
