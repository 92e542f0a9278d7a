"""`hibana session`: calls as JSON lines, answers as JSON lines."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import sys
from typing import Annotated, Any

import typer

import hibana
from hibana.cli import exits, options, output
from hibana.cli.command import command
from hibana.cli.inputs import byte_size, duration, pairs
from hibana.cli.session import Session

_OPEN_CALLS = 1024
"""Calls that wait for their answers at most; past it no further line is read."""

SESSION_EXAMPLES = """Examples:

echo '{"call": "add", "args": [2, 3]}' | hibana session user/math

hibana session user/counter --idle 10s

hibana session user/math --fresh --json
"""


@command
async def session_command(
    session: Session,
    ref: options.Ref,
    *,
    fresh: Annotated[bool, typer.Option("--fresh", help="Give every call an instance of its own.")] = False,
    argv: Annotated[list[str] | None, typer.Option("--argv", help="Program argument (WASI). Repeatable.")] = None,
    env: Annotated[
        list[str] | None, typer.Option("--env", metavar="KEY=VALUE", help="Environment variable (WASI). Repeatable.")
    ] = None,
    idle: Annotated[str | None, typer.Option("--idle", help="End after so long without a call, at most 60s.")] = None,
    guest_time: Annotated[str | None, typer.Option("--guest-time", help="Time that all calls run together.")] = None,
    memory: Annotated[str | None, typer.Option("--memory", help="Memory limit below the module's, e.g. 10MiB.")] = None,
    sensitive_input: Annotated[
        bool, typer.Option("--sensitive-input", help="Keep what is passed in out of the record.")
    ] = False,
) -> int:
    """Keep an instance of a module, and call it as often as there are lines.

    Each line of stdin is a JSON object: {"call": FUNCTION, "args": [...]}, and
    if you like an "id" of your own and a "timeout" in seconds. {"stdin": TEXT}
    or {"stdin_base64": ...} feeds the guest, {"end_stdin": true} ends that.

    Each answer is a JSON object on a line of its own, with the id of its call
    (or its number). The last line tells how the session ended.
    """
    opened = session.client.session(
        ref,
        fresh=fresh,
        argv=tuple(argv or ()),
        env=pairs(env or (), "a variable"),
        idle_timeout=duration(idle),
        guest_time=duration(guest_time),
        memory=byte_size(memory),
        sensitive_input=sensitive_input,
    )
    async with opened as running:
        talk = _Talk(running)
        await talk.read()
        result = await running.close()
        if result is not None:
            output.print_json({"event": "end", "execution": running.execution, **_told(result)})
        ended_well = result is not None and result.ok and not talk.failed
    return exits.OK if ended_well else exits.GUEST_FAILED


class _Talk:
    """Lines in, lines out."""

    def __init__(self, running: hibana.Session) -> None:
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

    async def _carry_out(self, told: dict[str, Any]) -> None:
        if "call" in told:
            await self._room.acquire()
            self._number += 1
            task = asyncio.create_task(self._call(told.get("id", self._number), told))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await asyncio.sleep(0)  # so that calls are sent in the order of their lines
        elif "stdin" in told:
            await self._running.stdin(str(told["stdin"]).encode())
        elif "stdin_base64" in told:
            await self._running.stdin(_bytes(told["stdin_base64"]))
        elif "end_stdin" in told:
            await self._running.end_stdin()
        else:
            raise typer.BadParameter('a line has none of "call", "stdin", "stdin_base64" and "end_stdin"')

    async def _call(self, name: Any, told: dict[str, Any]) -> None:
        try:
            result = await self._running.call(str(told["call"]), *told.get("args", ()), timeout=told.get("timeout"))
        except hibana.HibanaError as error:
            self.failed = True
            reason = getattr(error, "reason", "")
            output.print_json({"id": name, "error": {"reason": reason, "message": error.message}})
        else:
            self.failed = self.failed or not result.ok
            output.print_json({"id": name, **_told(result), **_written(result)})
        finally:
            self._room.release()


def _told(result: hibana.CallResult | hibana.Result) -> dict[str, Any]:
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
