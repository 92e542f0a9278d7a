"""`hibana executions stats`, `replay` and `export`."""

from __future__ import annotations

from typing import Annotated

import typer

from hibana.cli import charts, exits, options, output
from hibana.cli.command import command
from hibana.cli.inputs import execution_name, moment
from hibana.cli.session import Session
from hibana.cli.take import stream, times_again
from hibana.cli.text import seconds

EXPORT_PAGE = 500

history = typer.Typer()

Module = Annotated[str, typer.Option("--module", metavar="REF", help="Only of this module.")]
Version = Annotated[str, typer.Option("--version", help="Only of this version.")]
Function = Annotated[str, typer.Option("--function", help="Only of this function.")]
Caller = Annotated[str, typer.Option("--caller", help="Only of this caller; admins see all.")]


@history.command("stats", epilog="Example: hibana executions stats --module user/add --since 24h")
@command
async def stats_command(
    session: Session,
    *,
    module: Module = "",
    version: Version = "",
    function: Function = "",
    caller: Caller = "",
    since: options.Since = None,
    until: options.Until = None,
) -> None:
    """Draw outcomes and times of executions; --json tells the same numbers."""
    stats = await session.client.execution_stats(
        module=module,
        version=version,
        function=function,
        caller=caller,
        created_after=moment(since),
        created_before=moment(until),
        intervals=48,
    )
    if session.as_json:
        output.print_json(stats)
    else:
        charts.print_charts(stats)


@history.command("replay", epilog="Example: hibana executions replay executions/0190f5fe-... --on user/add@2.0.0")
@command
async def replay_command(
    session: Session,
    name: options.ExecutionName,
    *,
    on: Annotated[str, typer.Option("--on", metavar="REF", help="Version to run; default: the one that ran.")] = "",
) -> int:
    """Run a recorded execution again and compare; exit code 1 where outcome or output differ."""
    replay = await session.client.replay(execution_name(name), on)
    if session.as_json:
        output.print_json(replay)
    else:
        then, now = (each.usage.execution_time for each in (replay.original, replay.execution))
        output.print_fields(
            [
                ("execution", replay.execution.name),
                ("replays", replay.original.name),
                ("outcome", replay.execution.outcome.value if replay.execution.outcome else ""),
                ("same", "yes" if replay.same else "no"),
                *(("differs", difference) for difference in replay.differences),
                ("time", f"{seconds(now)}, then {seconds(then)}"),
            ]
        )
    return exits.OK if replay.same else exits.GUEST_FAILED


@history.command("export", epilog="Example: hibana executions export --since 30d > records.jsonl")
@command
async def export_command(  # noqa: PLR0913 - the options of the command
    session: Session,
    *,
    module: Module = "",
    version: Version = "",
    function: Function = "",
    caller: Caller = "",
    outcome: Annotated[str | None, typer.Option("--outcome", help="ok, trap, exit, timeout, memory ...")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that ended, and not with ok.")] = False,
    since: options.Since = None,
    until: options.Until = None,
    page_token: options.PageToken = "",
) -> None:
    """Print records with input and output, newest first, one JSON object to a line.

    An export that is cut off says how to go on. It holds one page at a time.
    """
    after, before = moment(since), moment(until)
    listing = session.client.executions(
        module=module,
        version=version,
        function=function,
        caller=caller,
        outcome=outcome,
        failed=failed,
        created_after=after,
        created_before=before,
        page_size=EXPORT_PAGE,
        whole=True,
    )
    await stream(listing, page_token, times_again(after, before))
