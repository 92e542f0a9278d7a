"""`hibana executions`."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Annotated

import typer

import hibana
from hibana.cli import exits, options, output, tables
from hibana.cli.command import command
from hibana.cli.completion import words
from hibana.cli.files import wanted
from hibana.cli.inputs import execution_name, moment
from hibana.cli.running import show_events
from hibana.cli.session import Session
from hibana.cli.take import page_size, stream, take, times_again
from hibana.cli.text import local_time, seconds, size

_SHOWN_CALLS = 20
"""Calls of a session that are told for reading."""
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

hibana executions list --all --json > executions.jsonl
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
    since: options.Since = None,
    until: options.Until = None,
    limit: options.Limit = 50,
    everything: Annotated[
        bool, typer.Option("--all", help="All of them; with --json one object to a line, as they come.")
    ] = False,
    page_token: options.PageToken = "",
) -> None:
    """List executions, newest first.

    With --json --all it holds one page at a time; one that is cut off says how
    to go on. `executions export` does the same with input and output.
    """
    streamed = everything and session.as_json
    if page_token and not streamed:
        raise typer.BadParameter("goes with --json --all", param_hint="--page-token")
    limit = 0 if everything else limit
    after, before = moment(since), moment(until)
    listing = session.client.executions(
        module=module,
        version=version,
        function=function,
        caller=caller,
        state=state,
        outcome=outcome,
        failed=failed,
        created_after=after,
        created_before=before,
        page_size=page_size(limit),
    )
    if streamed:
        await stream(listing, page_token, times_again(after, before))
        return
    items, total = await take(listing, limit)
    if session.as_json:
        output.print_json({"items": items, "total_size": total})
    else:
        tables.print_executions(items, total)


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
    output_file: Annotated[
        list[str] | None,
        typer.Option("--output-file", metavar="NAME[=PATH]", help="Write a file that the guest left. Repeatable."),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Let the guest's control characters reach the terminal.")] = False,
) -> int:
    """Show what happens in an execution, up to its end; it need not run any more.

    Ctrl-C stops watching and leaves the execution alone; `executions cancel`
    stops it. Exit code 1 tells that the guest failed.
    """
    events = session.client.watch(execution_name(name), after=after)
    places = wanted(output_file or ())
    result, whole = await show_events(events, as_json=session.as_json, raw=raw, output=output, outputs=places)
    return exits.OK if whole and (result is None or result.ok) else exits.GUEST_FAILED


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
            *(("file", f"{file.name}, {size(file.size_bytes)}") for file in (given.files if given else ())),
            *(_calls(execution.session) if execution.session else ()),
            ("results", json.dumps(made.results) if made and made.results else ""),
            ("stdout", _head(made.stdout, made.stdout_bytes) if made else ""),
            ("stderr", _head(made.stderr, made.stderr_bytes) if made else ""),
            *(("left file", f"{file.name}, {size(file.size_bytes)}") for file in (made.files if made else ())),
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


def _calls(session: hibana.SessionSummary) -> Iterator[tuple[str, str]]:
    """Tell what a session did."""
    failed = f", {session.failed_calls} of them failed" if session.failed_calls else ""
    yield "calls", f"{session.calls}{failed}"
    shown = session.first_calls[:_SHOWN_CALLS]
    for call in shown:
        given = "..." if call.arguments is None else ", ".join(map(json.dumps, call.arguments))
        returned = "" if not call.results else f" -> {', '.join(map(json.dumps, call.results))}"
        told = f"{call.function}({given}){returned}"
        yield f"call {call.call_id}", f"{told}, {call.outcome.value}, {seconds(call.execution_time)}"
    if session.calls > len(shown):
        yield "...", f"{session.calls - len(shown)} more; --json tells the first {len(session.first_calls)}"


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
