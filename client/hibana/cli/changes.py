"""`hibana modules`: changing, sharing, publishing, deleting and giving away."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import hibana
from hibana.cli import exits, options, output, tables
from hibana.cli.command import command
from hibana.cli.inputs import byte_size, duration, pairs
from hibana.cli.session import Session

changes = typer.Typer()
"""Part of `hibana modules`; `hibana.cli.app` puts them together."""

UPDATE_EXAMPLES = """Examples:

hibana modules update user/add --description "adds two numbers" --label team=math

hibana modules update user/add --disable
"""
SHARE_EXAMPLES = """Examples:

hibana modules share user/add --with bob --with carol

hibana modules share user/add --without bob

hibana modules share user/add --public
"""


@changes.command("update", epilog=UPDATE_EXAMPLES)
@command
async def update_command(  # noqa: PLR0913 - the options of the command
    session: Session,
    ref: options.Ref,
    *,
    description: Annotated[str | None, typer.Option("--description", help="Text for people.")] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="Set a label. Repeatable.")
    ] = None,
    remove_label: Annotated[
        list[str] | None, typer.Option("--remove-label", metavar="KEY", help="Take a label away. Repeatable.")
    ] = None,
    memory: Annotated[str | None, typer.Option("--memory", help="Memory limit below the tier's, e.g. 10MiB.")] = None,
    timeout: Annotated[str | None, typer.Option("--timeout", help="Time limit below the tier's, e.g. 2s.")] = None,
    tier_limits: Annotated[bool, typer.Option("--tier-limits", help="Take the tier's limits again.")] = False,
    enable: Annotated[bool | None, typer.Option("--enable/--disable", help="A disabled module cannot be run.")] = None,
    sensitive_input: Annotated[
        bool | None,
        typer.Option("--sensitive-input/--recorded-input", help="Whether callers' input stays out of their records."),
    ] = None,
    etag: options.Etag = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, change nothing.")] = False,
) -> None:
    """Change what is said about a module. What you do not name stays as it is."""
    labels = pairs(label or (), "a label")
    told = any((label, remove_label, memory, timeout, tier_limits))
    if enable is None and description is None and sensitive_input is None and not told:
        raise typer.BadParameter("say what to change: --description, --label, --timeout, --disable ...")
    if tier_limits and (memory or timeout):
        raise typer.BadParameter("--tier-limits and --memory or --timeout exclude each other")
    limits = hibana.ModuleLimits() if tier_limits else None
    wanted_memory, wanted_timeout = byte_size(memory), duration(timeout)
    new_labels = None
    if labels or remove_label or wanted_memory or wanted_timeout:
        # Part of a whole is changed: read it, and let nobody else change it meanwhile.
        module = await session.client.module(ref)
        etag = etag or module.etag
        if labels or remove_label:
            kept = {key: value for key, value in module.labels.items() if key not in (remove_label or ())}
            new_labels = {**kept, **labels}
        if wanted_memory or wanted_timeout:
            limits = hibana.ModuleLimits(
                memory_bytes=wanted_memory or module.limits.memory_bytes,
                timeout=wanted_timeout or module.limits.timeout,
            )
    status = None if enable is None else hibana.Status.ACTIVE if enable else hibana.Status.DISABLED
    changed = await session.client.update(
        ref,
        description=description,
        labels=new_labels,
        limits=limits,
        status=status,
        sensitive_input=sensitive_input,
        etag=etag,
        validate_only=dry_run,
    )
    if session.as_json:
        output.print_json(changed)
        return
    if dry_run:
        output.print_note("nothing was changed; it would look like this:")
    tables.print_module(changed)


@changes.command("share", epilog=SHARE_EXAMPLES)
@command
async def share_command(
    session: Session,
    ref: options.Ref,
    *,
    add: Annotated[
        list[str] | None, typer.Option("--with", metavar="USER", help="Let this caller run it. Repeatable.")
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--without", metavar="USER", help="No longer let this caller. Repeatable.")
    ] = None,
    public: Annotated[
        bool | None,
        typer.Option("--public/--private", help="Let every authenticated caller run it, or only those named."),
    ] = None,
) -> None:
    """Let others run a module of yours, or no longer."""
    if not add and not remove and public is None:
        raise typer.BadParameter("say with whom: --with USER, --without USER, --public or --private")
    module = await session.client.share(ref, add=add or (), remove=remove or (), public=public)
    if session.as_json:
        output.print_json(module)
        return
    who = "everyone" if module.is_public else ", ".join(["its owner", *module.allowed_users])
    output.print_text(f"{module.reference} runs for {who}")


@changes.command("publish", epilog="Example: hibana modules publish user/add@1.0.0   (an older one: roll back)")
@command
async def publish_command(session: Session, ref: options.VersionRef, *, etag: options.Etag = "") -> None:
    """Make a version the live one: what runs when no version is named."""
    if options.without_version(ref) == ref:
        raise typer.BadParameter(f"say which version: {ref}@VERSION (hibana modules versions {ref} lists them)")
    module = await session.client.publish(ref, etag=etag)
    if session.as_json:
        output.print_json(module)
    else:
        output.print_text(f"{module.reference}: {module.live_version} is live")


@changes.command("delete", epilog="Example: hibana modules delete user/add")
@command
async def delete_command(
    session: Session,
    ref: options.Ref,
    *,
    etag: options.Etag = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a version is deleted for good.")] = False,
) -> int:
    """Delete a module; `undelete` takes it back until it is purged. With @VERSION, only that version, for good."""
    if options.without_version(ref) == ref:
        module = await session.client.delete(ref, etag=etag)
        if session.as_json:
            output.print_json(module)
        else:
            output.print_text(f"{module.reference} is deleted")
            output.print_note(f"to take it back: hibana modules undelete {module.name}")
        return exits.OK
    if not yes:
        if not sys.stdin.isatty():
            raise hibana.ConfigError(
                "a version is deleted for good, and nobody can be asked here",
                next_step=f"hibana modules delete {ref} --yes",
            )
        if not typer.confirm(f"Delete {ref} for good?", err=True):
            output.print_note("nothing was deleted")
            return exits.USAGE
    version = await session.client.delete_version(ref)
    if session.as_json:
        output.print_json(version)
    else:
        output.print_text(f"{ref} is deleted; its label stays taken")
    return exits.OK


@changes.command("undelete", epilog="Example: hibana modules undelete user/add")
@command
async def undelete_command(session: Session, ref: options.Ref) -> None:
    """Take the deletion of a module back. `modules list --status deleted` shows what can be."""
    module = await session.client.undelete(ref)
    if session.as_json:
        output.print_json(module)
    else:
        output.print_text(f"{module.reference} is back")


@changes.command("transfer", epilog="Example: hibana modules transfer user/add --to bob")
@command
async def transfer_command(
    session: Session,
    ref: options.Ref,
    *,
    to: Annotated[str, typer.Option("--to", metavar="USER", help="The new owner.")],
    etag: options.Etag = "",
) -> None:
    """Give a module of yours to another owner. Its references change, and sharing ends."""
    module = await session.client.transfer(ref, to, etag=etag)
    if session.as_json:
        output.print_json(module)
    else:
        output.print_text(f"{module.reference} belongs to {module.owner} now")
