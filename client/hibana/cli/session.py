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
    """The options of every command: how to connect, and whether to answer in JSON."""

    address: str | None
    token: str | None
    token_file: str | None
    profile: str | None
    ca_file: str | None
    cert_file: str | None
    key_file: str | None
    insecure: bool
    as_json: bool

    def client(self) -> hibana.Client:
        """Make the client. Raises ConfigError."""
        token: hibana.Token | None = self.token
        if self.token_file:
            if self.token:
                raise hibana.ConfigError("--token and --token-file exclude each other", next_step="drop one of them")
            token = hibana.TokenFile(self.token_file)
        return hibana.Client(
            self.address,
            token=token,
            profile=self.profile,
            insecure=self.insecure or None,
            ca_file=self.ca_file,
            cert_file=self.cert_file,
            key_file=self.key_file,
        )


@dataclass(frozen=True, slots=True)
class Session:
    """What a command works with."""

    client: hibana.Client
    as_json: bool
    """Whether to print JSON for programs."""


def with_client(connect: Connect, work: Callable[[Session], Awaitable[int | None]]) -> int:
    """Run `work` with a client and return the exit code: its own, or that of its error."""
    import asyncio  # noqa: PLC0415 - a quarter of the start-up time, and --help does without

    async def run() -> int:
        async with connect.client() as client:
            return await work(Session(client, connect.as_json)) or exits.OK

    try:
        return asyncio.run(run())
    except KeyboardInterrupt:
        output.print_note("interrupted; a guest that was running is killed")
        return exits.INTERRUPTED
    except BrokenPipeError:
        _discard_stdout()
        return exits.PIPE_CLOSED
    except hibana.HibanaError as error:
        report(error, as_json=connect.as_json)
        return exits.exit_code(error)
    except OSError as error:  # a full disk, a file that cannot be written
        report(hibana.ConfigError(_spell(error)), as_json=connect.as_json)
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
