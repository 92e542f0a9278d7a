"""`hibana modules`: finding modules and looking at them."""

from __future__ import annotations

from typing import Annotated

import typer

from hibana.cli import options, output, tables
from hibana.cli.command import command
from hibana.cli.completion import words
from hibana.cli.progress import download_progress
from hibana.cli.session import Session
from hibana.cli.take import page_size, take

modules = typer.Typer(no_args_is_help=True, help="Find modules, look at them, change, share and publish them.")

LIST_EXAMPLES = """Examples:

hibana modules list --tier user --executable

hibana modules list --limit 0 --json | jq -r '.items[].reference'
"""


@modules.command("list", epilog=LIST_EXAMPLES)
@command
async def list_command(
    session: Session,
    *,
    tier: Annotated[
        str | None,
        typer.Option(
            "--tier",
            help="Only system, admin or user modules.",
            autocompletion=words("system", "admin", "user"),
        ),
    ] = None,
    owner: Annotated[str, typer.Option("--owner", help="Only modules of this owner.")] = "",
    status: Annotated[
        str | None,
        typer.Option(
            "--status",
            help="active (default), disabled or deleted.",
            autocompletion=words("active", "disabled", "deleted"),
        ),
    ] = None,
    prefix: Annotated[str, typer.Option("--prefix", help="Only names that start so.")] = "",
    text: Annotated[str, typer.Option("--text", help="Only modules with this text in name, description, labels.")] = "",
    executable: Annotated[bool, typer.Option("--executable", help="Only modules you may run now.")] = False,
    limit: options.Limit = 50,
) -> None:
    """List the modules you may see: system, admin, user, each newest first."""
    listing = session.client.modules(
        tier=tier,
        owner=owner,
        status=status,
        name_prefix=prefix,
        text=text,
        executable_only=executable,
        page_size=page_size(limit),
    )
    items, total = await take(listing, limit)
    if session.as_json:
        output.print_json({"items": items, "total_size": total})
        return
    tables.print_modules(items, total)
    if not items and not any((tier, owner, status, prefix, text, executable)):
        output.print_note("no modules yet; next: hibana upload FILE --name NAME --version 1.0.0")
    elif len(items) < total:
        output.print_note(f"{len(items)} of {total} are shown; --limit 0 shows all")


@modules.command("show", epilog="Example: hibana modules show user/add@1.0.0")
@command
async def show_command(session: Session, ref: options.Ref) -> None:
    """Show a module, and the version the reference names (without one, the live version)."""
    client = session.client
    module = await client.module(options.without_version(ref))
    named = options.without_version(ref) != ref
    version = await client.version(ref) if named or module.live_version else None
    if session.as_json:
        output.print_json({"module": module, "version": version})
        return
    tables.print_module(module)
    if version is not None:
        output.print_text("")
        tables.print_version(version)


@modules.command("versions", epilog="Example: hibana modules versions user/add")
@command
async def versions_command(session: Session, ref: options.Ref, *, limit: options.Limit = 50) -> None:
    """List the versions of a module, newest first."""
    client = session.client
    items, total = await take(client.versions(ref, page_size=page_size(limit)), limit)
    if session.as_json:
        output.print_json({"items": items, "total_size": total})
    else:
        module = await client.module(options.without_version(ref))
        tables.print_versions(items, total, live=module.live_version)


@modules.command("stats", epilog="Example: hibana modules stats user/add --json")
@command
async def stats_command(session: Session, ref: options.Ref) -> None:
    """Tell how often a module ran, how it ended and how long it took. For its owner and admins."""
    stats = await session.client.stats(ref)
    if session.as_json:
        output.print_json(stats)
    else:
        tables.print_stats(stats)


@modules.command("download", epilog="Example: hibana modules download user/add@1.0.0 --output add.wasm")
@command
async def download_command(
    session: Session,
    ref: options.Ref,
    *,
    to: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE|-", help="Where to write the bytes; - is standard output.")
    ],
) -> None:
    """Get a version's bytes back (without @VERSION, those of the live one). For the owner and admins.

    FILE appears when all bytes are there and their digest is that of the version.
    """
    if to == "-":
        output.print_bytes(await session.client.download_bytes(ref))
        return
    with download_progress(quiet=session.as_json) as progress:
        version = await session.client.download(ref, to, progress=progress)
    if session.as_json:
        output.print_json({"file": to, "version": version})
    else:
        output.print_text(
            f"{to}: {version.wasm_size_bytes} bytes of version {version.version}, sha256 {version.sha256}"
        )
