"""`hibana session`: calls as JSON lines, answers as JSON lines."""

from __future__ import annotations

from typing import Annotated

import typer

import hibana
from hibana.cli import exits, options, output
from hibana.cli.command import command
from hibana.cli.files import FileTargets, given, wanted
from hibana.cli.inputs import byte_size, duration, pairs
from hibana.cli.session import Session

SESSION_EXAMPLES = """Examples:

echo '{"call": "add", "args": [2, 3]}' | hibana session user/math

hibana session user/counter --idle 10s

hibana session user/math --fresh --json

hibana session user/notes --file in.txt --output-file notes.txt
"""


@command
async def session_command(  # noqa: PLR0913 - a command has as many options as there are
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
    file: Annotated[
        list[str] | None,
        typer.Option("--file", metavar="NAME=PATH", help="A file for the instance, read only (WASI). Repeatable."),
    ] = None,
    output_file: Annotated[
        list[str] | None,
        typer.Option("--output-file", metavar="NAME[=PATH]", help="A file that it leaves (WASI). Repeatable."),
    ] = None,
    sensitive_input: Annotated[
        bool, typer.Option("--sensitive-input", help="Keep what is passed in out of the record.")
    ] = False,
) -> int:
    """Keep an instance of a module, and call it as often as there are lines.

    Each line of stdin is a JSON object: {"call": FUNCTION, "args": [...]}, and
    if you like an "id" of your own and a "timeout" in seconds. {"stdin": TEXT}
    or {"stdin_base64": ...} feeds the guest, {"end_stdin": true} ends that.

    Each answer is a JSON object on a line of its own, with the id of its call
    (or its number). The last line tells how the session ended. Files that the
    instance leaves under the names of --output-file are written here then.
    """
    from hibana.cli.talking import Talk, told  # noqa: PLC0415 - asyncio is slow to load, and --help does without

    places = wanted(output_file or ())
    opened = session.client.session(
        ref,
        fresh=fresh,
        argv=tuple(argv or ()),
        env=pairs(env or (), "a variable"),
        idle_timeout=duration(idle),
        guest_time=duration(guest_time),
        memory=byte_size(memory),
        sensitive_input=sensitive_input,
        files=given(file or ()),
        outputs=tuple(places),
    )
    all_there = True
    async with opened as running:
        talk = Talk(running)
        await talk.read()
        result = await running.close()
        if result is not None:
            with FileTargets(places) as targets:
                for left in running.files.values():
                    targets.takes(hibana.FileChunk(result.sequence, left.name, 0, left.data or b""))
                all_there = targets.finish(result)
            output.print_json({"event": "end", "execution": running.execution, **told(result)})
        ended_well = result is not None and result.ok and all_there and not talk.failed
    return exits.OK if ended_well else exits.GUEST_FAILED
