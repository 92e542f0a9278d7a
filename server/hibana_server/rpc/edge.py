"""What happens around every RPC: identity, request checks, error map, log line, metrics.

It stands where grpc looks a method up, once a call and before the request is read, so that an
unauthenticated caller cannot make the service take in megabytes. The interceptors of grpc.aio
stand at the same place, but each runs through coroutines of its own: that costs a short call more
than everything done here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeAlias, cast

import grpc
import structlog
from google.protobuf.message import DecodeError, Message

from hibana_server.auth.sources import KeysNeeded
from hibana_server.domain.access import Action, require
from hibana_server.domain.callers import Caller
from hibana_server.domain.errors import Exhausted, HibanaError, Internal, Invalid, Unauthenticated
from hibana_server.rpc.access_rules import ACCESS_RULES
from hibana_server.rpc.audit import Auditor
from hibana_server.rpc.audit_rules import AUDIT_RULES
from hibana_server.rpc.calls import CURRENT, CurrentCall, current_caller
from hibana_server.rpc.entrance import Entrance
from hibana_server.rpc.errors import DETAILS_KEY, code_of, status_of
from hibana_server.rpc.tls import identities, peer_name
from hibana_server.rpc.validate import validate
from hibana_server.services.quotas import Quotas
from hibana_server.telemetry.metrics import Metrics
from hibana_server.telemetry.traces import Traces

OPEN_SERVICES = ("/grpc.health.v1.Health/", "/grpc.reflection.")
"""Services that need no token."""

log = structlog.get_logger("hibana.rpc")

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context = grpc.aio.ServicerContext[Any, Any]
Read = Callable[[bytes], Message]
"""Makes a message of its bytes. Raises DecodeError."""

_AUTHORIZATION = "authorization"
_FAILURES = frozenset({"TOKEN_INVALID", "TOKEN_EXPIRED", "TOKEN_REVOKED"})
"""Reasons of those who tried credentials. Without any nothing was tried."""
_MAKE_ONE = "send `authorization: Bearer TOKEN`; make a token with `hibana-server token --subject NAME --data-dir DIR`"


class Edge(grpc.GenericRpcHandler):
    """Every service's methods, each with what happens around it. Registered with the server as the only handler."""

    def __init__(
        self,
        entrance: Entrance,
        metrics: Metrics,
        *,
        quotas: Quotas,
        access_log: bool,
        traces: Traces | None = None,
        auditor: Auditor,
    ) -> None:
        self._verifier = entrance.verifier
        self._metrics = metrics
        self._traces = traces
        self._quotas = quotas
        self._auditor = auditor
        self._access_log = access_log
        self._entrance = entrance
        self._services: list[grpc.GenericRpcHandler] = []
        self._methods: dict[str, tuple[Handler, bool]] = {}
        """Method -> its handler, and whether it needs a token. Filled by first calls, with real methods only."""

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Take a service. The generated `add_..._to_server` functions call this as if it were a server."""
        self._services += handlers

    def add_registered_method_handlers(self, _service: str, _handlers: object) -> None:
        """Leave methods to the handlers above.

        For every method that is registered by name grpc.aio waits with a task of its own, and each
        call then walks all of them.
        """

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Return what serves this call: the method, or a refusal of its credentials."""
        method = str(handler_call_details.method)
        known = self._methods.get(method) or self._find(method, handler_call_details)
        if known is None:
            return None
        handler, needs_token = known
        return self._identified(method, handler, handler_call_details) if needs_token else handler

    def _identified(self, method: str, handler: Handler, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        """Return the handler with its caller set, or what refuses the credentials."""
        pairs = handler_call_details.invocation_metadata or ()
        metadata: dict[str, Any] = dict(pairs)
        call = CurrentCall(method, metadata.get("x-request-id", ""), metadata.get("traceparent", ""))
        token = ""
        try:
            if len(metadata) != len(pairs) and sum(key == _AUTHORIZATION for key, _ in pairs) > 1:
                raise Unauthenticated(f"several credentials in one call; {_MAKE_ONE}")
            authorization = metadata.get(_AUTHORIZATION)
            if authorization is None and self._entrance.peers:
                return self._judge_inside(handler, call, self._peer)
            call.token = token = _bearer_token(authorization)
            call.caller = caller = self._verifier.verify(token)
            if self._quotas.fresh:
                self._quotas.account(caller).request()
                call.counted = True
        except KeysNeeded:
            return self._judge_first(handler, call, token)
        except HibanaError as error:
            return self._refuse(call, error)
        except Exception:
            # What escapes from here reaches the caller word by word.
            log.exception("defect", method=method)
            return self._refuse(call, _defect(call))
        CURRENT.set(call)
        return handler

    def _find(self, method: str, details: grpc.HandlerCallDetails) -> tuple[Handler, bool] | None:
        for service in self._services:
            handler = service.service(details)
            if handler is not None:
                needs_token = not method.startswith(OPEN_SERVICES)
                known = self._methods[method] = (self._wrap(method, handler) if needs_token else handler, needs_token)
                return known
        return None

    def _refuse(self, call: CurrentCall, error: HibanaError) -> Handler:
        async def refuse(_requests: AsyncIterator[Any], context: Context) -> None:
            await self._turn_away(call, context, error)

        # Whatever the kind of the RPC: a streaming handler is the one that grpc starts without reading a message.
        return grpc.stream_stream_rpc_method_handler(refuse)

    def _judge_inside(
        self, handler: Handler, call: CurrentCall, judge: Callable[[Context], Awaitable[Caller]]
    ) -> Handler:
        """Serve a call whose caller can be told only with the connection at hand."""
        inner = _method_of(handler)

        async def serve(received: Any, context: Context) -> Any:
            try:
                call.caller = await judge(context)
            except HibanaError as error:
                await self._turn_away(call, context, error)
            CURRENT.set(call)
            return await inner(received, context)

        return _maker(handler)(serve, request_deserializer=None, response_serializer=handler.response_serializer)

    def _judge_first(self, handler: Handler, call: CurrentCall, token: str) -> Handler:
        """Serve a call whose caller is told by something that has to be fetched.

        Until then nobody knows whether it may call at all, so its request is not read: on the wire every RPC is a
        stream each way, and of streams grpc leaves the reading to the method.
        """
        inner = _method_of(handler)

        async def serve(requests: AsyncIterator[Any], context: Context) -> None:
            try:
                call.caller = await self._verifier.judge(token)
            except HibanaError as error:
                await self._turn_away(call, context, error)
            except Exception:
                log.exception("defect", method=call.method)
                await self._turn_away(call, context, _defect(call))
            CURRENT.set(call)
            received: Any = requests
            if not handler.request_streaming:
                received = await anext(requests, None)
                if received is None:
                    await self._turn_away(
                        call, context, Invalid("the call ended without its request; send one message")
                    )
            answer = await inner(received, context)
            if not handler.response_streaming:
                await context.write(answer)

        return grpc.stream_stream_rpc_method_handler(serve, response_serializer=handler.response_serializer)

    async def _peer(self, context: Context) -> Caller:
        return self._entrance.peers.caller(identities(context.auth_context()))

    async def _turn_away(self, call: CurrentCall, context: Context, error: HibanaError) -> None:
        """End a call without a caller; an address that fails too often is told to wait, and gets no more log lines."""
        if error.reason in _FAILURES:
            self._auditor.not_authenticated(call, context.peer(), error)
            try:
                self._entrance.failures.failed(context.peer())
            except Exhausted as limit:
                self._metrics.call((call.method, code_of(limit).name), time.perf_counter() - call.started)
                await _abort(context, limit)
        self._finish(call, code_of(error).name, error.reason)
        await _abort(context, error)

    def _wrap(self, method: str, handler: Handler) -> Handler:
        inner = _method_of(handler)
        changes = AUDIT_RULES[method].changes
        for_admins = ACCESS_RULES[method].for_admins and not getattr(inner, "not_served", False)
        read = cast("Read", handler.request_deserializer)
        streaming, with_peers, budget = (
            handler.request_streaming,
            self._entrance.with_certificates,
            self._entrance.budget,
        )

        async def serve(received: Any, context: Context) -> Any:
            call = CURRENT.get()
            if with_peers:
                call.peer = peer_name(context.auth_context())
            if changes:
                call.address = context.peer()
            code, reason = "OK", ""
            held = 0
            request: Any = None
            try:
                if not call.counted:
                    await self._quotas.refresh()
                    self._quotas.account(current_caller()).request()
                if not streaming:
                    held = budget.take(len(received))
                request = _Requests(context, read) if streaming else _read(received, read)
                received = None  # megabytes, perhaps, for as long as the call waits
                if for_admins:
                    require(current_caller(), Action.OPERATE)
                return await inner(request, context)
            except HibanaError as error:
                code, reason = code_of(error).name, error.reason
                if error.denial is not None:
                    self._auditor.denied(call, context.peer(), error, request)
                await _abort(context, error)
            except (asyncio.CancelledError, grpc.aio.InternalError):
                # grpc tells of a caller who went away while something was sent by an error, before it cancels.
                code = "CANCELLED"
                raise asyncio.CancelledError from None
            except grpc.aio.AbortError:
                code = context.code().name if hasattr(context.code(), "name") else "UNKNOWN"
                raise
            except Exception:
                log.exception("defect", method=call.method)
                code, reason = "INTERNAL", "INTERNAL"
                await _abort(context, _defect(call))
            finally:
                budget.give_back(held)
                self._finish(call, code, reason)

        return _maker(handler)(
            serve,
            # Requests are read above: what grpc cannot read it answers with UNKNOWN and the exception's text.
            request_deserializer=None,
            response_serializer=handler.response_serializer,
        )

    def _finish(self, call: CurrentCall, code: str, reason: str) -> None:
        seconds = time.perf_counter() - call.started
        self._metrics.call((call.method, code), seconds)
        if self._traces is not None and call.caller is not None:  # strangers cannot fill traces
            self._traces.call_ended(call.method, code, seconds, call.parent, call.execution)
        if code == "OK" and not self._access_log:
            return
        told = {"reason": reason} if reason else {}
        log.info("call", code=code, ms=round(seconds * 1000, 3), **told, **call.log_fields())


def _method_of(handler: Handler) -> Any:
    methods = (handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream)
    return next(method for method in methods if method is not None)


def _maker(handler: Handler) -> Callable[..., Handler]:
    """Return what makes handlers of the same kind."""
    return {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[handler.request_streaming, handler.response_streaming]


def _bearer_token(authorization: str | None) -> str:
    """Return the token of the header. Raises Unauthenticated."""
    if authorization is None:
        raise Unauthenticated(f"no credentials; {_MAKE_ONE}", reason="TOKEN_MISSING")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated(f"the credentials are not a bearer token; {_MAKE_ONE}")
    return token.strip()


def _defect(call: CurrentCall) -> Internal:
    return Internal(f"a defect of the service; its operator finds the cause under request id {call.request_id}")


def _read(data: bytes, read: Read) -> Message:
    try:
        request = read(data)
    except DecodeError:
        raise Invalid("the bytes are not a message of this method; generate the client from the contract") from None
    validate(request, len(data))
    return request


class _Requests:
    """The messages of a stream, each read and judged when it is asked for."""

    __slots__ = ("_next", "_read")

    def __init__(self, context: Context, read: Read) -> None:
        # The bytes, as no deserializer is named. What grpc hands a method iterates over the same by two generators.
        self._next: Callable[[], Awaitable[Any]] = context.read
        self._read = read

    def __aiter__(self) -> _Requests:
        return self

    async def __anext__(self) -> Message:
        data = await self._next()
        if data is grpc.aio.EOF:
            raise StopAsyncIteration
        return _read(data, self._read)


async def _abort(context: Context, error: HibanaError) -> None:
    status = status_of(error)
    try:
        await context.abort(code_of(error), status.message, ((DETAILS_KEY, status.SerializeToString()),))
    except grpc.aio.InternalError:
        # The caller has gone while this waited behind what it did not read.
        raise asyncio.CancelledError from None
