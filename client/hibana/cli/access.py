"""`hibana access`."""

from __future__ import annotations

import typer

from hibana.cli import exits, options, output
from hibana.cli.command import command
from hibana.cli.session import Session
from hibana.cli.text import seconds, size

access = typer.Typer(no_args_is_help=True, help="Ask what you may do.")


@access.command("test", epilog="Example: hibana access test system/sha256")
@command
async def test_command(session: Session, ref: options.Ref) -> int:
    """Tell whether you may run a module now, why (not), and within which limits.

    Exit code 0: you may. 3: you may not.
    """
    answer = await session.client.test_access(ref)
    if session.as_json:
        output.print_json(answer)
    else:
        limits = answer.limits if answer.granted else None
        told = [
            ("granted", "yes" if answer.granted else "no"),
            ("why" if answer.granted else "why not", answer.explanation),
            ("memory", size(limits.memory_bytes) if limits else ""),
            ("time", seconds(limits.timeout) if limits else ""),
            ("output", size(limits.output_bytes) if limits else ""),
            ("host functions", ", ".join(answer.host_functions)),
        ]
        output.print_fields(told)
    return exits.OK if answer.granted else exits.REFUSED
