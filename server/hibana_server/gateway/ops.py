"""The operators' HTTP port: /healthz and /metrics. It needs no token and serves nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import uvicorn

from hibana_server.domain.errors import Unavailable
from hibana_server.telemetry.metrics import Metrics

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class OpsApp:
    """The ASGI application."""

    def __init__(self, metrics: Metrics, serving: Callable[[], bool]) -> None:
        self._metrics = metrics
        self._serving = serving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        status, kind, body = self._answer(scope["method"], scope["path"])
        headers = [
            (b"content-type", kind),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _answer(self, method: str, path: str) -> tuple[int, bytes, bytes]:
        if path not in ("/healthz", "/metrics"):
            return 404, b"text/plain", b"not found: this port has /healthz and /metrics\n"
        if method not in ("GET", "HEAD"):
            return 405, b"text/plain", b"use GET\n"
        if path == "/metrics":
            return 200, b"text/plain; version=0.0.4; charset=utf-8", self._metrics.render()
        if self._serving():
            return 200, b"application/json", b'{"status":"serving"}\n'
        return 503, b"application/json", b'{"status":"not serving"}\n'


class OpsServer:
    """uvicorn on the service's own event loop, without its signal handling."""

    def __init__(self, app: OpsApp, host: str, port: int) -> None:
        self._address = (host, port)
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> int:
        """Listen and return the port. Raises Unavailable when the address cannot be listened on."""
        # uvicorn's own binding ends the process when the address is taken.
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        try:
            sock = socket.create_server(self._address, family=family)
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            raise Unavailable(
                f"cannot listen on {self._address[0]}:{self._address[1]} ({why}); choose another --http, or --http off"
            ) from None
        self._task = asyncio.create_task(self._server.serve(sockets=[sock]))
        return int(sock.getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and wait for answers on their way."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task


class _Server(uvicorn.Server):
    """uvicorn's server; signals belong to the service, which drains before it stops."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signal handlers alone."""
        yield
