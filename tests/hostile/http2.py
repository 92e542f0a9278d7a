"""A client that speaks HTTP/2 by hand, to do what no gRPC library does."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, Event, RemoteSettingsChanged, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

READ_BYTES = 65536
PATIENCE = 20.0


class Wire:
    """One connection. Everything written is flushed; events are read on request."""

    def __init__(self, address: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.address = address
        self.reader = reader
        self.writer = writer
        # What is sent may be wrong on purpose.
        self.http = H2Connection(H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False))
        self.closed = False

    async def begin(self) -> None:
        """Send the preface and wait for the server's settings."""
        self.http.initiate_connection()
        await self.flush()
        await self.until(RemoteSettingsChanged)

    async def flush(self) -> None:
        """Send what the protocol has to send."""
        self.writer.write(self.http.data_to_send())
        await self.writer.drain()

    async def events(self) -> list[Event]:
        """Read once; an empty list at the end of the connection."""
        data = await self.reader.read(READ_BYTES)
        if not data:
            self.closed = True
            return []
        found = self.http.receive_data(data)
        for event in found:
            if isinstance(event, DataReceived) and event.stream_id and event.flow_controlled_length:
                self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if isinstance(event, ConnectionTerminated):
                self.closed = True
        await self.flush()
        return found

    async def until(self, kind: type[Event]) -> Event | None:
        """Read until an event of a kind comes; None when the connection ends before."""
        async with asyncio.timeout(PATIENCE):
            while not self.closed:
                for event in await self.events():
                    if isinstance(event, kind):
                        return event
        return None

    def headers(self, path: str, token: str = "", **more: str) -> list[tuple[str, str]]:
        """Write the headers of a gRPC call."""
        found = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", self.address),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ]
        if token:
            found.append(("authorization", f"Bearer {token}"))
        return found + [(name.replace("_", "-"), value) for name, value in more.items()]

    async def call(
        self, path: str, token: str, message: bytes, more: Mapping[str, str] | None = None, *, end: bool = True
    ) -> int:
        """Open a stream with one message and return its number."""
        stream = self.http.get_next_available_stream_id()
        self.http.send_headers(stream, self.headers(path, token, **(more or {})))
        self.http.send_data(stream, b"\0" + struct.pack(">I", len(message)) + message, end_stream=end)
        await self.flush()
        return stream


@asynccontextmanager
async def wire(address: str, *, begin: bool = True) -> AsyncIterator[Wire]:
    """Open a connection; closed however the body ends."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    opened = Wire(address, reader, writer)
    try:
        if begin:
            await opened.begin()
        yield opened
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except OSError:
            opened.closed = True  # the server was faster


__all__ = ["ProtocolError", "StreamEnded", "StreamReset", "Wire", "wire"]
