"""Talking to a session by lines of JSON."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import sys
from typing import Any

import typer

import hibana
from hibana.cli import output

_OPEN_CALLS = 1024
"""Calls that wait for their answers at most; past it no further line is read."""


class Talk:
    """Lines in, lines out."""

    def __init__(self, running: hibana.Session) -> None:
        """Take the session that is talked to."""
        self._running = running
        self._room = asyncio.Semaphore(_OPEN_CALLS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._number = 0
        self.failed = False
        """Whether a call ended otherwise than OK."""

    async def read(self) -> None:
        """Carry out lines until there are no more, or the session has ended, and wait for the answers."""
        loop = asyncio.get_running_loop()
        while self._running.result is None and (line := await loop.run_in_executor(None, sys.stdin.readline)):
            if line.strip():
                await self._carry_out(_parse(line))
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _carry_out(self, line: dict[str, Any]) -> None:
        if "call" in line:
            await self._room.acquire()
            self._number += 1
            task = asyncio.create_task(self._call(line.get("id", self._number), line))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await asyncio.sleep(0)  # so that calls are sent in the order of their lines
        elif "stdin" in line:
            await self._running.stdin(str(line["stdin"]).encode())
        elif "stdin_base64" in line:
            await self._running.stdin(_bytes(line["stdin_base64"]))
        elif "end_stdin" in line:
            await self._running.end_stdin()
        else:
            raise typer.BadParameter('a line has none of "call", "stdin", "stdin_base64" and "end_stdin"')

    async def _call(self, name: Any, line: dict[str, Any]) -> None:
        try:
            result = await self._running.call(str(line["call"]), *line.get("args", ()), timeout=line.get("timeout"))
        except hibana.HibanaError as error:
            self.failed = True
            reason = getattr(error, "reason", "")
            output.print_json({"id": name, "error": {"reason": reason, "message": error.message}})
        else:
            self.failed = self.failed or not result.ok
            output.print_json({"id": name, **told(result), **_written(result)})
        finally:
            self._room.release()


def told(result: hibana.CallResult | hibana.Result) -> dict[str, Any]:
    """Return how a call or a session ended, for a line of JSON."""
    fields: dict[str, Any] = {"outcome": result.outcome, "values": result.json_values}
    if result.failure is not None:
        fields["failure"] = result.failure
    return fields


def _written(result: hibana.CallResult) -> dict[str, Any]:
    streams = {"stdout": result.stdout, "stderr": result.stderr}
    return {name: _text(data) for name, data in streams.items() if data}


def _text(data: bytes) -> str | dict[str, Any]:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": output.jsonable(data)}


def _parse(line: str) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except ValueError as error:
        raise typer.BadParameter(f"a line is no JSON: {error}") from None
    if not isinstance(told, dict) or not isinstance(told.get("args", []), list):
        raise typer.BadParameter('a line is no object such as {"call": "add", "args": [2, 3]}')
    return told


def _bytes(text: Any) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except binascii.Error:
        raise typer.BadParameter("stdin_base64 is no base64") from None
