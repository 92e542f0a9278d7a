"""The command `hibana-server`."""

from __future__ import annotations

import asyncio
import importlib.metadata
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from hibana_server.domain.callers import Role
from hibana_server.domain.errors import HibanaError
from hibana_server.settings.durations import parse_duration
from hibana_server.settings.model import Settings, SettingsError
from hibana_server.settings.model import load as load_settings

EXIT_FAILED = 1
EXIT_USAGE = 2

app = typer.Typer(
    name="hibana-server",
    help="Store WebAssembly modules and run their functions in sandboxes, over gRPC.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

artifacts = typer.Typer(help="Compiled modules on disk.", no_args_is_help=True)
app.add_typer(artifacts, name="artifacts")

ConfigOption = Annotated[Path | None, typer.Option("--config", help="Settings file (TOML).", metavar="FILE")]
DataDirOption = Annotated[
    str | None,
    typer.Option("--data-dir", help="Directory of everything that is kept (default: .hibana).", metavar="DIR"),
]


def main() -> None:
    """Run the command line."""
    app()


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(f"hibana-server {importlib.metadata.version('hibana')}")
        raise typer.Exit


@app.command()
def serve(
    data_dir: DataDirOption = None,
    listen: Annotated[
        str | None, typer.Option(help="Address of the gRPC port (default: 127.0.0.1:50051).", metavar="HOST:PORT")
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(help="Address of /healthz and /metrics (default: 127.0.0.1:8080), or off.", metavar="HOST:PORT"),
    ] = None,
    config: ConfigOption = None,
    sandboxes: Annotated[
        int | None, typer.Option(help="Guests that run at the same time (default: four for each CPU).", metavar="N")
    ] = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C: running calls end first, nothing accepted is lost.

    Every setting can also come from the settings file or the environment; see docs/settings.md.

    Example: hibana-server serve --data-dir /var/lib/hibana --listen 127.0.0.1:50051
    """
    settings = _settings(config, data_dir=data_dir, listen=listen, http=http)
    if sandboxes is not None:
        settings = _with_sandboxes(settings, sandboxes)
    # Imported here: the other commands need neither grpc nor a database.
    from hibana_server.app import run

    sys.exit(_guarded(lambda: run(settings)))


@app.command()
def token(
    subject: Annotated[str, typer.Option(help="Whom the token stands for.", metavar="NAME")],
    role: Annotated[Role, typer.Option(help="What it may do.", case_sensitive=False)] = Role.USER,
    ttl: Annotated[str, typer.Option(help="How long it holds: 30m, 1h, 7d.", metavar="DURATION")] = "1h",
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
) -> None:
    """Print a token signed by the data directory's own key.

    Example: export HIBANA_TOKEN=$(hibana-server token --subject alice)
    """
    settings = _settings(config, data_dir=data_dir)
    try:
        seconds = parse_duration(ttl)
    except ValueError as error:
        _usage(f"--ttl: {error}")
    if not 1 <= seconds <= 10 * 365 * 86400:
        _usage("--ttl: must be 1s to 3650d")
    from hibana_server.auth.tokens import issue
    from hibana_server.storage.data_dir import load_or_create_key, open_data_dir

    def make() -> int:
        path = open_data_dir(Path(settings.data_dir)).keys / "token.key"
        if not path.exists():
            # In a wrong directory this makes a token that the server refuses, for a reason it cannot know.
            typer.echo(
                f"note: a new key was made in {path.parent.parent}; only a server on that directory takes this token",
                err=True,
            )
        key = load_or_create_key(path)
        typer.echo(issue(key, subject, role, seconds))
        return 0

    sys.exit(_guarded(make))


@app.command()
def migrate(data_dir: DataDirOption = None, config: ConfigOption = None) -> None:
    """Bring the databases of a data directory to the schema of this release. `serve` does it by itself."""
    settings = _settings(config, data_dir=data_dir)
    from hibana_server.storage.data_dir import open_data_dir
    from hibana_server.storage.migrate import upgrade

    def bring() -> int:
        upgrade(open_data_dir(Path(settings.data_dir)))
        typer.echo("the databases have the schema of this release")
        return 0

    sys.exit(_guarded(bring))


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Read all that is stored, too: databases, bytes, audit log.",
        ),
    ] = False,
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
) -> None:
    """Tell what this machine offers and what is amiss, with the next step. Changes nothing.

    Exits with 0 when the server would work, warnings included, and with 1 when it would not.
    """
    from rich.console import Console

    from hibana_server.doctor.check import Check, State, examine, verdict
    from hibana_server.doctor.report import as_json as render
    from hibana_server.doctor.report import progress, show
    from hibana_server.doctor.rounds import quick_round, thorough_round

    try:
        settings = load_settings(config, options={"data_dir": data_dir})
    except SettingsError as error:
        # Where everything is depends on them: nothing else can be looked at.
        checks = [Check("settings", State.FAIL, str(error), "Correct it; docs/settings.md lists all settings.")]
    else:
        with progress(Console(stderr=True)) as tell:
            checks = examine(settings, thorough_round(tell) if verify else quick_round())
    if as_json:
        typer.echo(render(checks))
    else:
        show(checks, Console(highlight=False))
    sys.exit(EXIT_FAILED if verdict(checks) is State.FAIL else 0)


@artifacts.command(name="list")
def list_artifacts(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
) -> None:
    """List compiled modules, longest unused first: the order in which they go when the budget is used up."""
    settings = _settings(config, data_dir=data_dir)
    from rich.console import Console

    from hibana_server import cli_artifacts

    def tell() -> int:
        entries, budget = cli_artifacts.shelf_of(settings).entries(), settings.compile.artifact_bytes
        if as_json:
            typer.echo(cli_artifacts.as_json(entries, budget))
        else:
            cli_artifacts.show(entries, budget, Console(highlight=False))
        return 0

    sys.exit(_guarded(tell))


@artifacts.command(name="clear")
def clear_artifacts(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
) -> None:
    """Remove compiled modules; each is compiled again when it is called next.

    Beside a running server those it used in the last two minutes stay.
    """
    settings = _settings(config, data_dir=data_dir)
    from hibana_server import cli_artifacts

    if not yes:
        if not sys.stdin.isatty():
            _usage("nobody can be asked here; say --yes")
        typer.confirm(f"Remove the compiled modules in {settings.data_dir}?", abort=True)

    def remove() -> int:
        removed, left = cli_artifacts.clear(settings)
        typer.echo(f"removed {removed} compiled modules")
        if left:
            typer.echo(f"note: {left} stay, the server used them a moment ago; stop it first to remove all", err=True)
        return 0

    sys.exit(_guarded(remove))


def _settings(config: Path | None, **options: object) -> Settings:
    try:
        return load_settings(config, options=options)
    except SettingsError as error:
        _usage(str(error))


def _with_sandboxes(settings: Settings, count: int) -> Settings:
    import msgspec

    if not 1 <= count <= 1024:
        _usage("--sandboxes: must be 1 to 1024")
    pool = msgspec.structs.replace(settings.pool, max_sandboxes=count)
    return msgspec.structs.replace(settings, pool=pool)


def _guarded(work: Callable[[], int]) -> int:
    try:
        return work()
    except HibanaError as error:
        typer.echo(f"error: {error.message}", err=True)
        return EXIT_FAILED
    except OSError as error:
        typer.echo(f"error: {error.strerror or error}", err=True)
        return EXIT_FAILED
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130


def _usage(text: str) -> NoReturn:
    typer.echo(f"error: {text}", err=True)
    raise typer.Exit(EXIT_USAGE)
