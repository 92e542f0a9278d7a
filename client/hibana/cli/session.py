"""One command's way to the service: connect, run, tell errors, choose the exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import hibana
from hibana.cli import exits, output
from hibana.cli.text import clean


@dataclass(frozen=True, slots=True)
class Connect:
    """The options of every command that say how to connect, and whether to answer in JSON."""

    address: str | None
    token: str | None
    profile: str | None
    insecure: bool
    json: bool


def with_client(connect: Connect, work: Callable[[hibana.Client], Awaitable[int | None]]) -> int:
    """Run `work` with a client and return the exit code: its own, or that of its error."""
    import asyncio  # noqa: PLC0415 - a quarter of the start-up time, and --help does without

    async def run() -> int:
        async with hibana.Client(
            connect.address, token=connect.token, profile=connect.profile, insecure=connect.insecure or None
        ) as client:
            return await work(client) or exits.OK

    try:
        return asyncio.run(run())
    except KeyboardInterrupt:
        output.print_note("interrupted; a guest that was running is killed")
        return exits.INTERRUPTED
    except BrokenPipeError:
        _discard_stdout()
        return exits.PIPE_CLOSED
    except hibana.HibanaError as error:
        report(error, as_json=connect.json)
        return exits.exit_code(error)
    except OSError as error:  # a full disk, a file that cannot be written
        report(hibana.ConfigError(_spell(error)), as_json=connect.json)
        return exits.USAGE


def _spell(error: OSError) -> str:
    what = error.strerror or str(error)
    return what if error.filename is None else f"{error.filename}: {what}"


def report(error: hibana.HibanaError, *, as_json: bool) -> None:
    """Tell an error: what happened and what to do next on stderr; with JSON, an object on stdout too."""
    lines = [f"error: {clean(error.message)}"]
    if isinstance(error, hibana.ServiceError):
        told = [v for v in error.violations if v.description not in error.message]
        lines += [f"  {clean(v.field)}: {clean(v.description)}" for v in told]
        lines += [
            f"  {f.severity.value} {clean(f.code)}: {clean(f.text)}"
            for f in error.findings
            if f.text not in error.message
        ]
        ours = isinstance(error, hibana.InternalError | hibana.Unavailable | hibana.DataLoss)
        if ours and error.request_id and error.request_id not in error.message:
            lines.append(f"  request id: {clean(error.request_id)}")
    if (step := next_step(error)) and step not in error.message:
        lines.append(f"next: {clean(step)}")
    print("\n".join(lines), file=sys.stderr)  # noqa: T201 - a command line prints
    if as_json:
        output.print_json({"error": _as_object(error)})


def next_step(error: hibana.HibanaError) -> str:
    """Return what to do about an error; empty where nothing is known beyond its message."""
    if isinstance(error, hibana.ServiceError):
        if error.findings:
            return "; ".join(dict.fromkeys(f.fix for f in error.findings if f.fix))
        if error.retry_after:
            return f"try again in {error.retry_after:.1f} s"
    return error.next_step


def _as_object(error: hibana.HibanaError) -> dict[str, object]:
    found: dict[str, object] = {"message": error.message, "next_step": next_step(error)}
    if isinstance(error, hibana.ServiceError):
        found |= {
            "code": error.code,
            "reason": error.reason,
            "violations": error.violations,
            "findings": error.findings,
            "retry_after": error.retry_after,
            "metadata": error.metadata,
            "request_id": error.request_id,
        }
    return found


def _discard_stdout() -> None:
    """Let nothing more be written to a closed pipe, not even by the interpreter's last flush."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
