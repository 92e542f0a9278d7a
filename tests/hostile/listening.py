"""A channel that lets somebody listen to every message that arrives, as bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import grpc

_KINDS = frozenset({"unary_unary", "unary_stream", "stream_unary", "stream_stream"})


class ListeningChannel:
    """Passes for a `grpc.aio.Channel` as far as stubs ask."""

    def __init__(self, channel: grpc.aio.Channel, listener: Callable[[bytes], None]) -> None:
        self._channel = channel
        self._listener = listener

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._channel, name)
        if name not in _KINDS:
            return attribute

        def make(path: str, *args: Any, response_deserializer: Callable[[bytes], Any], **rest: Any) -> Any:
            def deserialize(data: bytes) -> Any:
                self._listener(data)
                return response_deserializer(data)

            return attribute(path, *args, response_deserializer=deserialize, **rest)

        return make


def listening(channel: grpc.aio.Channel, listener: Callable[[bytes], None]) -> grpc.aio.Channel:
    """Wrap a channel."""
    return cast("grpc.aio.Channel", ListeningChannel(channel, listener))
