"""`hibana executions stats`, `replay` and `export`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from hibana.cli import charts, exits, options, output
from hibana.cli.command import command
from hibana.cli.inputs import LONGEST_AGE, duration, execution_name
from hibana.cli.session import Session
from hibana.cli.text import seconds
from hibana.errors import HibanaError

EXPORT_PAGE = 500

history = typer.Typer()

Module = Annotated[str, typer.Option("--module", metavar="REF", help="Only of this module.")]
Version = Annotated[str, typer.Option("--version", help="Only of this version.")]
Function = Annotated[str, typer.Option("--function", help="Only of this function.")]
Caller = Annotated[str, typer.Option("--caller", help="Only of this caller; admins see all.")]
Since = Annotated[str | None, typer.Option("--since", help="Only of the last 10m, 2h, 7d ..., or from a time on.")]


def moment(text: str | None) -> datetime | None:
    """Read `2h` (so long ago) or a time as 2026-01-31T12:00:00Z. None stays None. Raises typer.BadParameter."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        age = duration(text, longest=LONGEST_AGE)
        return None if age is None else datetime.now(UTC) - timedelta(seconds=age)
    return found.astimezone() if found.tzinfo is None else found


@history.command("stats", epilog="Example: hibana executions stats --module user/add --since 24h")
@command
async def stats_command(
    session: Session,
    *,
    module: Module = "",
    version: Version = "",
    function: Function = "",
    caller: Caller = "",
    since: Since = None,
) -> None:
    """Draw outcomes and times of executions; --json tells the same numbers."""
    stats = await session.client.execution_stats(
        module=module, version=version, function=function, caller=caller, created_after=moment(since), intervals=48
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
async def export_command(
    session: Session,
    *,
    module: Module = "",
    version: Version = "",
    function: Function = "",
    caller: Caller = "",
    since: Since = None,
    page_token: Annotated[str, typer.Option("--page-token", help="Go on where an export was cut off.")] = "",
) -> None:
    """Print records with input and output, newest first, one JSON object to a line.

    An export that is cut off says how to go on. It holds one page at a time.
    """
    after = moment(since)
    listing = session.client.executions(
        module=module,
        version=version,
        function=function,
        caller=caller,
        created_after=after,
        page_size=EXPORT_PAGE,
        whole=True,
    )
    token = page_token
    try:
        while True:
            page = await listing.page(token)
            for record in page.items:
                output.print_json(record)
            token = page.next_page_token
            if not token:
                return
    except (HibanaError, KeyboardInterrupt, OSError):
        if token:
            bound = f" --since {after.isoformat()}" if after else ""
            output.print_note(f"cut off; go on with the same filters and{bound} --page-token {token}")
        raise
