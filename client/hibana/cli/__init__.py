"""The command line `hibana`."""

from __future__ import annotations


def main() -> int:
    """Run the command line. Returns the exit code (see `hibana.cli.exits`); usage errors exit by themselves."""
    from hibana.cli.app import run  # noqa: PLC0415 - importing the package must not load typer

    return run()
