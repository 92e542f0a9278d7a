"""The commands, put together."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

import hibana
from hibana.cli import exits
from hibana.cli.access import access
from hibana.cli.changes import changes
from hibana.cli.completion import COMPLETION_EXAMPLES, completion_command
from hibana.cli.executions import executions
from hibana.cli.modules import modules
from hibana.cli.profiles import profiles
from hibana.cli.run import RUN_EXAMPLES, RunCommand, run_command
from hibana.cli.upload import UPLOAD_EXAMPLES, inspect_command, upload_command

app = typer.Typer(
    name="hibana",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Store WebAssembly modules and run their functions.\n\n"
        "Exit codes: 0 ok, 1 the guest failed, 2 usage, 3 refused by the service, 4 service unreachable."
    ),
)
app.command("upload", epilog=UPLOAD_EXAMPLES)(upload_command)
app.command("inspect", epilog="Example: hibana inspect add.wasm")(inspect_command)
app.command("run", cls=RunCommand, epilog=RUN_EXAMPLES)(run_command)
modules.add_typer(changes)
app.add_typer(modules, name="modules")
app.add_typer(executions, name="executions")
app.add_typer(access, name="access")
app.add_typer(profiles, name="profiles")
app.command("completion", epilog=COMPLETION_EXAMPLES)(completion_command)


def _print_version(value: bool) -> None:  # noqa: FBT001 - typer calls it so
    if value:
        typer.echo(f"hibana {hibana.__version__}")
        raise typer.Exit


@app.callback()
def _global(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take what comes before the command."""


def run(arguments: list[str] | None = None) -> int:
    """Run a command line (without the program's name) and return its exit code."""
    try:
        result: Any = app(args=arguments, standalone_mode=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else exits.USAGE
    except Exception as error:  # noqa: BLE001 - a defect of ours: one line, never a traceback
        kind = type(error).__name__
        sys.stderr.write(
            f"error: hibana failed inside: {kind}: {error}\nnext: report this with the command you typed\n"
        )
        return exits.DEFECT
    return result if isinstance(result, int) else exits.OK
