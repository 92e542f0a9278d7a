"""`hibana session`: calls as JSON lines, answers as JSON lines."""

from __future__ import annotations

from typing import Annotated

import typer

from hibana.cli import exits, options, output
from hibana.cli.command import command
from hibana.cli.inputs import byte_size, duration, pairs
from hibana.cli.session import Session

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
    from hibana.cli.talking import Talk, told  # noqa: PLC0415 - asyncio is slow to load, and --help does without

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
        talk = Talk(running)
        await talk.read()
        result = await running.close()
        if result is not None:
            output.print_json({"event": "end", "execution": running.execution, **told(result)})
        ended_well = result is not None and result.ok and not talk.failed
    return exits.OK if ended_well else exits.GUEST_FAILED
