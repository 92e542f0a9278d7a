"""The commands, put together."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

import hibana
from hibana.cli import exits, output
from hibana.cli.access import access
from hibana.cli.audit import audit
from hibana.cli.changes import changes
from hibana.cli.completion import COMPLETION_EXAMPLES, completion_command
from hibana.cli.executions import executions
from hibana.cli.history import history
from hibana.cli.keys import keys
from hibana.cli.modules import modules
from hibana.cli.profiles import profiles
from hibana.cli.quota import quota
from hibana.cli.run import RUN_EXAMPLES, RunCommand, run_command
from hibana.cli.talk import SESSION_EXAMPLES, session_command
from hibana.cli.upload import UPLOAD_EXAMPLES, inspect_command, upload_command

_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""What every misuse of options and arguments is; typer's releases differ in the module it comes from."""

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
app.command("session", epilog=SESSION_EXAMPLES)(session_command)
modules.add_typer(changes)
app.add_typer(modules, name="modules")
executions.add_typer(history)
app.add_typer(executions, name="executions")
app.add_typer(access, name="access")
app.add_typer(quota, name="quota")
app.add_typer(keys, name="keys")
app.add_typer(audit, name="audit")
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


def _misused(error: Any, *, as_json: bool) -> int:
    """Tell of options or arguments that are wrong."""
    from typer import rich_utils  # noqa: PLC0415 - slow to load, and only for those who mistyped

    rich_utils.rich_format_error(error)
    if as_json:
        output.print_json({"error": {"message": error.format_message(), "next_step": "see --help of the command"}})
    return exits.USAGE


def run(arguments: list[str] | None = None) -> int:
    """Run a command line (without the program's name) and return its exit code."""
    try:
        result: Any = app(args=arguments, standalone_mode=False)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else exits.USAGE
    except typer.Abort:
        output.print_note("aborted")
        return exits.USAGE
    except _UsageError as error:
        return _misused(error, as_json="--json" in (sys.argv if arguments is None else arguments))
    except Exception as error:  # noqa: BLE001 - a defect of ours: one line, never a traceback
        kind = type(error).__name__
        sys.stderr.write(
            f"error: hibana failed inside: {kind}: {error}\nnext: report this with the command you typed\n"
        )
        return exits.DEFECT
    return result if isinstance(result, int) else exits.OK
