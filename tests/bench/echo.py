"""The yardstick: the barest grpc.aio server, which answers with the bytes it got. `python -m tests.bench.echo`.

It runs on the event loop that the service uses; with `plain` on the one that comes with Python.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc
import uvloop

METHOD = "/bench.Echo/Echo"


async def _echo(request: bytes, _context: Any) -> bytes:
    return request


async def _serve() -> None:
    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(_echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Echo", {"Echo": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    (asyncio.run if "plain" in sys.argv[1:] else uvloop.run)(_serve())
