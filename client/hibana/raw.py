"""Calls with the messages of the contract themselves, for what the client has no method of its own for."""

from __future__ import annotations

from typing import Any

from google.protobuf import message_factory
from google.protobuf.message import Message

from hibana.connection import Connection, Retry
from hibana.errors import ConfigError


class RawCalls:
    """The part of the client that speaks Protocol Buffers to its user."""

    _connection: Connection

    async def raw(self, request: Message, *, timeout: float | None = None) -> Any:
        """Send a request message of `hibana.v1` and return the response message.

        Every RPC has a request of its own, so the message tells the RPC:
        `await client.raw(module_registry_pb2.GetModuleRequest(module="user/add"))`. Unary RPCs
        only. Errors and deadline as everywhere; made again only if the service says that nothing
        was done.
        """
        method = _method(request)
        response = message_factory.GetMessageClass(method.output_type)
        call = self._connection.channel.unary_unary(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )
        return await self._connection.unary(call, request, timeout=timeout, retry=Retry.NOT_RUN)


def _method(request: Message) -> Any:
    """Return the unary RPC that takes a message. Raises ConfigError."""
    message = request.DESCRIPTOR
    for service in message.file.services_by_name.values():
        for method in service.methods:
            if method.input_type is message and not (method.client_streaming or method.server_streaming):
                return method
    raise ConfigError(
        f"{message.full_name} is the request of no unary RPC",
        next_step="pass a ...Request of hibana.v1; for streams, use stream, upload and download",
    )
