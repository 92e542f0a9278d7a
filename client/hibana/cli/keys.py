"""`hibana keys`: credentials for machines."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

import hibana
from hibana.cli import options, output
from hibana.cli.command import command
from hibana.cli.completion import words
from hibana.cli.inputs import duration
from hibana.cli.session import Session
from hibana.cli.take import page_size, take
from hibana.cli.text import local_time

keys = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys: credentials for machines.")

CREATE_EXAMPLES = """Examples:

hibana keys create "build machine" --ttl 30d

hibana keys create deploy --output deploy.key   (then: hibana --token-file deploy.key ..., or HIBANA_TOKEN)

hibana keys create nightly --user robot --role service   (for another subject, as an admin)
"""
REVOKE_EXAMPLES = """Examples:

hibana keys revoke 4fK0bSx2QmZr8a1C

hibana keys revoke 4fK0bSx2QmZr8a1C 9aTq0LwYd3Rk7mXe --json
"""
LONGEST_TTL = 3650 * 86400.0
"""Seconds; a service may allow less."""

User = Annotated[str, typer.Option("--user", metavar="USER", help="Somebody else, for admins.")]


@keys.command("create", epilog=CREATE_EXAMPLES)
@command
async def create_command(
    session: Session,
    display_name: Annotated[str, typer.Argument(metavar="[FOR]", help="What the key is for, to tell it later.")] = "",
    *,
    ttl: Annotated[str | None, typer.Option("--ttl", help="How long it lives, e.g. 30d. Default: 90d.")] = None,
    role: Annotated[
        str,
        typer.Option(
            "--role",
            help="user, service or admin, none above your own. Default: the lowest of use.",
            autocompletion=words("user", "service", "admin"),
        ),
    ] = "",
    user: User = "",
    file: Annotated[
        str, typer.Option("--output", metavar="FILE", help="Write the key into a new private file; do not show it.")
    ] = "",
) -> None:
    """Make an API key and show it, this once.

    A machine sends it like a token: HIBANA_TOKEN, --token-file, a profile, or `authorization: Bearer KEY`.
    It has your rights, but makes no keys.
    """
    seconds = duration(ttl, longest=LONGEST_TTL)
    # Before the key is made: one that could not be written would be lost.
    descriptor = _new_file(file) if file else None
    try:
        made = await session.client.create_api_key(display_name, ttl=seconds, role=role, subject=user)
    except BaseException:
        if descriptor is not None:
            os.close(descriptor)
            os.unlink(file)  # noqa: PTH108 - the empty file just made here, by the same name
        raise
    if descriptor is not None:
        _write(descriptor, file, made)
    if session.as_json:
        output.print_json({"key": made.key, **({"file": file} if file else {"secret": made.secret})})
        return
    ends = f"ends {local_time(made.key.expire_time)}"
    if file:
        output.print_text(f"{made.key.name} is in {file}")
    else:
        # Alone on standard output, so that `KEY=$(hibana keys create ...)` gets it and nothing else.
        output.print_text(made.secret)
        output.print_note("this is the only time the key is shown: keep it now, where no log and no repository sees it")
    output.print_note(f"{made.key.name} calls as {made.key.subject}, role {made.key.role}, and {ends}")
    output.print_note(f"when it is not needed any more: hibana keys revoke {_id(made.key)}")


@keys.command("list", epilog="Example: hibana keys list")
@command
async def list_command(
    session: Session,
    *,
    user: User = "",
    everybody: Annotated[bool, typer.Option("--all", help="Keys of all subjects, for admins.")] = False,
    limit: options.Limit = 50,
) -> None:
    """List your API keys, newest first; keys that ended stay for a while. The keys themselves nobody can show."""
    if user and everybody:
        raise typer.BadParameter("--user and --all exclude each other")
    listing = session.client.api_keys(user, all_subjects=everybody, page_size=page_size(limit))
    items, total = await take(listing, limit)
    if session.as_json:
        output.print_json({"items": items, "total_size": total})
    else:
        _print(items, total)


@keys.command("revoke", epilog=REVOKE_EXAMPLES)
@command
async def revoke_command(
    session: Session,
    names: Annotated[list[str], typer.Argument(metavar="KEY...", help="ID, apiKeys/ID, or the key itself.")],
) -> None:
    """Revoke API keys. The service takes them for no new call from then on; what runs goes on.

    Of a key that is given whole only the ID is sent.
    """
    for name in names:
        key = await session.client.revoke_api_key(name)
        if session.as_json:
            output.print_json(key)
        else:
            output.print_text(f"{key.name} {_state(key)}")


def _print(items: Sequence[hibana.ApiKey], total: int) -> None:
    rows = [
        (
            _id(key),
            _state(key),
            key.display_name,
            key.subject,
            key.role,
            local_time(key.create_time),
            local_time(key.expire_time),
            local_time(key.last_used_time) or "never",
        )
        for key in items
    ]
    columns = ("id", "state", "for", "subject", "role", "created", "ends", "last used")
    output.print_table(f"{len(rows)} of {total} keys", columns, rows)


def _id(key: hibana.ApiKey) -> str:
    return key.name.removeprefix("apiKeys/")


def _state(key: hibana.ApiKey) -> str:
    if key.revoke_time is not None:
        return "revoked"
    ended = key.expire_time is not None and key.expire_time <= datetime.now(UTC)
    return "expired" if ended else "active"


def _new_file(name: str) -> int:
    """Open a file that was not there, for the caller alone. Raises typer.BadParameter."""
    try:
        return os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_CLOEXEC", 0), 0o600)
    except OSError as error:
        raise typer.BadParameter(f"{name} cannot be made: {error.strerror or error}") from None


def _write(descriptor: int, name: str, made: hibana.NewApiKey) -> None:
    """Write a key into its file. Raises ConfigError, with what to do about the key that nobody can read now."""
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(made.secret + "\n")
    except OSError as error:
        raise hibana.ConfigError(
            f"{made.key.name} is made, but {name} cannot be written: {error.strerror or error}",
            next_step=f"hibana keys revoke {_id(made.key)}, and make another",
        ) from None
