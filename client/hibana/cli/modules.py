"""`hibana modules`."""

from __future__ import annotations

from typing import Annotated

import typer

import hibana
from hibana.cli import options, output, tables
from hibana.cli.session import Connect, with_client
from hibana.cli.take import take

modules = typer.Typer(no_args_is_help=True, help="Find modules and look at their versions.")

LIST_EXAMPLES = """Examples:

hibana modules list --tier user --executable

hibana modules list --limit 0 --json | jq -r '.items[].reference'
"""


@modules.command("list", epilog=LIST_EXAMPLES)
def list_command(  # noqa: PLR0913 - the options of the command
    *,
    tier: Annotated[str | None, typer.Option("--tier", help="Only system, admin or user modules.")] = None,
    owner: Annotated[str, typer.Option("--owner", help="Only modules of this owner.")] = "",
    status: Annotated[str | None, typer.Option("--status", help="active (default), disabled or deleted.")] = None,
    prefix: Annotated[str, typer.Option("--prefix", help="Only names that start so.")] = "",
    text: Annotated[str, typer.Option("--text", help="Only modules with this text in name, description, labels.")] = "",
    executable: Annotated[bool, typer.Option("--executable", help="Only modules you may run now.")] = False,
    limit: options.Limit = 50,
    as_json: options.AsJson = False,
    address: options.Address = None,
    token: options.Token = None,
    profile: options.Profile = None,
    insecure: options.Insecure = False,
) -> None:
    """List the modules you may see: system, admin, user, each newest first."""

    async def work(client: hibana.Client) -> None:
        listing = client.modules(
            tier=tier, owner=owner, status=status, name_prefix=prefix, text=text, executable_only=executable
        )
        items, total = await take(listing, limit)
        if as_json:
            output.print_json({"items": items, "total_size": total})
        else:
            tables.print_modules(items, total)

    raise typer.Exit(with_client(Connect(address, token, profile, insecure, as_json), work))


@modules.command("show", epilog="Example: hibana modules show user/add@1.0.0")
def show_command(
    ref: options.Ref,
    *,
    as_json: options.AsJson = False,
    address: options.Address = None,
    token: options.Token = None,
    profile: options.Profile = None,
    insecure: options.Insecure = False,
) -> None:
    """Show a module, and the version the reference names (without one, the live version)."""

    async def work(client: hibana.Client) -> None:
        module = await client.module(_without_version(ref))
        named = _without_version(ref) != ref
        version = await client.version(ref) if named or module.live_version else None
        if as_json:
            output.print_json({"module": module, "version": version})
            return
        tables.print_module(module)
        if version is not None:
            output.print_text("")
            tables.print_version(version)

    raise typer.Exit(with_client(Connect(address, token, profile, insecure, as_json), work))


def _without_version(ref: str) -> str:
    """Return the module a reference speaks of. An owner's `@` is percent-encoded, so the last one is the version's."""
    if ref.startswith("modules/"):
        return "/".join(ref.split("/")[:2])
    return ref.rpartition("@")[0] or ref


@modules.command("versions", epilog="Example: hibana modules versions user/add")
def versions_command(
    ref: options.Ref,
    *,
    limit: options.Limit = 50,
    as_json: options.AsJson = False,
    address: options.Address = None,
    token: options.Token = None,
    profile: options.Profile = None,
    insecure: options.Insecure = False,
) -> None:
    """List the versions of a module, newest first."""

    async def work(client: hibana.Client) -> None:
        items, total = await take(client.versions(ref), limit)
        if as_json:
            output.print_json({"items": items, "total_size": total})
        else:
            tables.print_versions(items, total)

    raise typer.Exit(with_client(Connect(address, token, profile, insecure, as_json), work))
