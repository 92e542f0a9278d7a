"""`hibana completion`, and the words that TAB offers. Nothing here asks the service."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated

import typer

import hibana

SHELLS = ("bash", "zsh", "fish")

COMPLETION_EXAMPLES = """Examples:

hibana completion bash > ~/.local/share/bash-completion/completions/hibana

hibana completion zsh > ~/.zfunc/_hibana   (with `fpath+=~/.zfunc` before `compinit` in ~/.zshrc)

hibana completion fish > ~/.config/fish/completions/hibana.fish
"""


def words(*known: str) -> Callable[[str], list[str]]:
    """Offer those of these words that start with what is typed."""
    return lambda incomplete: [word for word in known if word.startswith(incomplete)]


def profile_names(incomplete: str) -> list[str]:
    """Offer the profiles of the profile file; none where it cannot be read."""
    from hibana import profiles  # noqa: PLC0415 - only at TAB

    try:
        found = profiles.read(os.environ)
    except hibana.HibanaError:
        return []
    return [] if found is None else [name for name in sorted(found.profiles) if name.startswith(incomplete)]


def completion_command(
    shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.", autocompletion=words(*SHELLS))],
) -> None:
    """Print the script that makes TAB complete commands, options and profiles in a shell.

    It needs no service. `hibana --install-completion` writes it to where the
    shell you are in looks for it.
    """
    from typer._completion_shared import get_completion_script  # noqa: PLC0415 - only here

    if shell not in SHELLS:
        raise typer.BadParameter(f"no script for {shell!r}; choose one of: {', '.join(SHELLS)}")
    typer.echo(get_completion_script(prog_name="hibana", complete_var="_HIBANA_COMPLETE", shell=shell))
