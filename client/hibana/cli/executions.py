"""`hibana executions`."""

from __future__ import annotations

import codecs
import json
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

import hibana
from hibana.cli import exits, options, output, tables
from hibana.cli.command import command
from hibana.cli.completion import words
from hibana.cli.inputs import LONGEST_AGE, duration, execution_name
from hibana.cli.running import show_events
from hibana.cli.session import Session
from hibana.cli.take import page_size, take, take_where
from hibana.cli.text import local_time, seconds, size

OUTCOMES = (
    "ok",
    "trap",
    "exit",
    "timeout",
    "memory",
    "output_limit",
    "stack",
    "denied",
    "bad_output",
    "cancelled",
    "lost",
)
"""As `hibana.Outcome` has them; spelled here so that --help need not load it. A test compares them."""

executions = typer.Typer(no_args_is_help=True, help="Look at past and running executions.")


LIST_EXAMPLES = """Examples:

hibana executions list --module user/add --outcome trap

hibana executions list --failed --since 1h
"""


@executions.command("list", epilog=LIST_EXAMPLES)
@command
async def list_command(  # noqa: PLR0913 - the options of the command
    session: Session,
    *,
    module: Annotated[str, typer.Option("--module", metavar="REF", help="Only of this module.")] = "",
    version: Annotated[str, typer.Option("--version", help="Only of this version.")] = "",
    function: Annotated[str, typer.Option("--function", help="Only of this function.")] = "",
    caller: Annotated[str, typer.Option("--caller", help="Only of this caller; admins see all.")] = "",
    state: Annotated[
        str | None,
        typer.Option("--state", help="queued, running or done.", autocompletion=words("queued", "running", "done")),
    ] = None,
    outcome: Annotated[
        str | None,
        typer.Option("--outcome", help="ok, trap, exit, timeout, memory ...", autocompletion=words(*OUTCOMES)),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that ended, and not with ok.")] = False,
    since: Annotated[str | None, typer.Option("--since", help="Only of the last 10m, 2h, 7d ...")] = None,
    limit: options.Limit = 50,
) -> None:
    """List executions, newest first."""
    age = duration(since, longest=LONGEST_AGE)
    listing = session.client.executions(
        module=module,
        version=version,
        function=function,
        caller=caller,
        state=state,
        outcome=outcome,
        created_after=None if age is None else datetime.now(UTC) - timedelta(seconds=age),
        page_size=page_size(0 if failed else limit),
    )
    if failed:
        items, total = await take_where(listing, _failed, limit)
    else:
        items, total = await take(listing, limit)
    if session.as_json:
        output.print_json({"items": items, "total_size": total})
    else:
        tables.print_executions(items, total)


def _failed(execution: hibana.Execution) -> bool:
    return execution.outcome is not None and execution.outcome is not hibana.Outcome.OK


@executions.command("show", epilog="Example: hibana executions show executions/0190f5fe-7c00-7a00-8abc-012345678901")
@command
async def show_command(session: Session, name: options.ExecutionName) -> None:
    """Show the record of an execution with its input and output."""
    _tell(await session.client.execution(execution_name(name)), as_json=session.as_json)


WATCH_EXAMPLES = """Examples:

hibana executions watch executions/0190f5fe-7c00-7a00-8abc-012345678901

hibana executions watch 0190f5fe-7c00-7a00-8abc-012345678901 --after 12 --json
"""


@executions.command("watch", epilog=WATCH_EXAMPLES)
@command
async def watch_command(
    session: Session,
    name: options.ExecutionName,
    *,
    after: Annotated[int, typer.Option("--after", min=0, help="Only events after this sequence number.")] = 0,
    output: Annotated[
        str | None, typer.Option("--output", metavar="FILE", help="Write the guest's stdout here.")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Let the guest's control characters reach the terminal.")] = False,
) -> int:
    """Show what happens in an execution, up to its end; it need not run any more.

    Ctrl-C stops watching and leaves the execution alone; `executions cancel`
    stops it. Exit code 1 tells that the guest failed.
    """
    events = session.client.watch(execution_name(name), after=after)
    result = await show_events(events, as_json=session.as_json, raw=raw, output=output)
    return exits.OK if result is None or result.ok else exits.GUEST_FAILED


@executions.command("cancel", epilog="Example: hibana executions cancel 0190f5fe-7c00-7a00-8abc-012345678901")
@command
async def cancel_command(session: Session, name: options.ExecutionName) -> None:
    """Stop a running or waiting execution and show its final record."""
    _tell(await session.client.cancel(execution_name(name)), as_json=session.as_json)


def _tell(execution: hibana.Execution, *, as_json: bool) -> None:
    if as_json:
        output.print_json(execution)
        return
    failure, given, made = execution.failure, execution.input, execution.output
    output.print_fields(
        [
            ("execution", execution.name),
            ("module", execution.module),
            ("version", execution.version),
            ("function", execution.function),
            ("caller", execution.caller),
            ("state", execution.state.value),
            ("outcome", execution.outcome.value if execution.outcome else ""),
            ("failure", f"{failure.code} {failure.message}".strip() if failure else ""),
            ("exit code", str(failure.exit_code) if failure and failure.exit_code else ""),
            *(("at", frame) for frame in (failure.backtrace if failure else ())),
            ("arguments", json.dumps(given.arguments) if given and given.arguments else ""),
            ("argv", json.dumps(given.argv) if given and given.argv else ""),
            ("env", json.dumps(dict(given.env)) if given and given.env else ""),
            ("stdin", size(given.stdin_bytes) if given and given.stdin_bytes else ""),
            ("results", json.dumps(made.results) if made and made.results else ""),
            ("stdout", _head(made.stdout, made.stdout_bytes) if made else ""),
            ("stderr", _head(made.stderr, made.stderr_bytes) if made else ""),
            ("time", f"{seconds(execution.usage.execution_time)}, cpu {seconds(execution.usage.cpu_time)}"),
            ("memory", size(execution.usage.memory_used_bytes)),
            ("cache", execution.cache.value if execution.cache else ""),
            ("limits", f"{size(execution.limits.memory_bytes)}, {seconds(execution.limits.timeout)}"),
            ("request id", execution.request_id),
            ("trace id", execution.trace_id),
            ("accepted", local_time(execution.create_time)),
            ("started", local_time(execution.start_time)),
            ("ended", local_time(execution.end_time)),
        ]
    )


def _head(data: bytes, total: int) -> str:
    """Tell how much there was, and how it starts if it is text."""
    if not total:
        return ""
    try:
        # Not final: the cut may go through a character.
        start = codecs.getincrementaldecoder("utf-8")().decode(data[:400])
    except UnicodeDecodeError:
        return size(total)
    return f"{size(total)}: {start!r}"
