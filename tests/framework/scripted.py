"""A gRPC server that answers as a test says, for what a real one does only on bad days.

    async def get(request, context): ...
    async with serving({"ModuleRegistry.GetModule": get}) as address: ...

It speaks the contract over a real socket; only what stands behind is the test's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf import duration_pb2, message_factory
from google.rpc import error_details_pb2, status_pb2

from hibana.v1 import executor_pb2, module_registry_pb2

Handler = Callable[[Any, Any], Any]
"""A coroutine function of (request, context) that returns the response; a generator for a stream."""

_FILES = (module_registry_pb2.DESCRIPTOR, executor_pb2.DESCRIPTOR)
_METHODS = {
    f"{service.name}.{method.name}": method
    for file in _FILES
    for service in file.services_by_name.values()
    for method in service.methods
}


@asynccontextmanager
async def serving(
    handlers: Mapping[str, Handler], credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[str]:
    """Serve these methods on a free port of 127.0.0.1 and give the address."""
    server = grpc.aio.server()
    for name, handler in handlers.items():
        service, _, method = name.partition(".")
        table = {method: _wrapped(_METHODS[name], handler)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(f"hibana.v1.{service}", table),))
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


def _wrapped(method: Any, handler: Handler) -> Any:
    kinds: dict[tuple[bool, bool], Any] = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
    }
    return kinds[method.client_streaming, method.server_streaming](
        handler,
        request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
        response_serializer=message_factory.GetMessageClass(method.output_type).SerializeToString,
    )


async def refuse(context: Any, code: grpc.StatusCode, reason: str, retry_after: float | None = None) -> NoReturn:
    """End a call as the service would, with its reason and the time after which to come back."""
    status = status_pb2.Status(code=code.value[0], message=f"refused: {reason}")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="hibana"))
    if retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(int(retry_after * 1e9))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    trailing = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(code, status.message, trailing)
    raise AssertionError("abort does not return")


def metadata(context: Any) -> dict[str, str]:
    """Return what a call carried."""
    return dict(context.invocation_metadata())
