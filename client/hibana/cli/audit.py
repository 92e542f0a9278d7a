"""`hibana audit`: who changed what, who was refused, and which admin looked at what is somebody else's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Any

import typer

import hibana
from hibana.cli import options, output
from hibana.cli.command import command
from hibana.cli.completion import words
from hibana.cli.inputs import moment
from hibana.cli.session import Session
from hibana.cli.take import LARGEST_PAGE, page_size, take
from hibana.cli.text import local_time
from hibana.errors import ConfigError, HibanaError

audit = typer.Typer(no_args_is_help=True, help="Read who changed what and who was refused. For admins.")

KINDS = ("change", "denial", "read")
LIST_EXAMPLES = """Examples:

hibana audit list --since 24h

hibana audit list --kind denial --subject mallory

hibana audit list --resource modules/0190f5fe-... --action version.publish --json
"""
EXPORT_EXAMPLES = """Examples:

hibana audit export --output audit.jsonl     (again later: goes on where the file ends)

hibana audit export --kind change | jq .action

hibana audit export --after change:1200 --after denial:40
"""
_SHOWN = 80

Kind = Annotated[
    str | None,
    typer.Option("--kind", metavar="|".join(KINDS), help="Only of this kind.", autocompletion=words(*KINDS)),
]


@audit.command("list", epilog=LIST_EXAMPLES)
@command
async def list_command(
    session: Session,
    *,
    kind: Kind = None,
    subject: Annotated[str, typer.Option("--subject", metavar="USER", help="Only what this caller did.")] = "",
    action: Annotated[str, typer.Option("--action", help="Only this action; 'module.*' for all that begin so.")] = "",
    resource: Annotated[str, typer.Option("--resource", help="Only about this, and what is beneath it.")] = "",
    since: options.Since = None,
    until: options.Until = None,
    limit: options.Limit = 50,
) -> None:
    """List entries, newest first.

    change: stored together with what it tells of. denial: somebody was not allowed to, or came with credentials that
    do not hold; the last column is the rule, also where the caller was told NOT_FOUND. read: an admin read what belongs
    to somebody else.
    """
    listing = session.client.audit_entries(
        kind=_kind(kind),
        subject=subject,
        action=action,
        resource=resource,
        since=moment(since),
        until=moment(until),
        page_size=page_size(limit),
    )
    items, total = await take(listing, limit)
    if session.as_json:
        output.print_json({"items": items, "total_size": total})
        return
    rows = [
        (
            local_time(each.time),
            each.kind.value,
            each.subject or ("-" if each.denied else "(service)"),
            each.action,
            each.reference or each.resource or "-",
            each.reason or "done",
            str(each.count),
            what(each),
        )
        for each in items
    ]
    columns = ("time", "kind", "who", "action", "of", "outcome", "times", "what")
    output.print_table(f"{len(rows)} of {total} entries", columns, rows)


@audit.command("export", epilog=EXPORT_EXAMPLES)
@command
async def export_command(
    session: Session,
    *,
    kind: Kind = None,
    after: Annotated[
        list[str] | None,
        typer.Option("--after", metavar="KIND:NUMBER", help="Go on behind this place of a chain; may be repeated."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Append to this file, from where it ends."),
    ] = None,
) -> None:
    """Print entries as JSON lines, each chain from its oldest entry on, one object to a line.

    Every entry has its place (sequence) in the chain of its kind, without gaps, so an export can go on where the last
    one ended, and misses nothing. An export that is cut off says how to go on. It holds one page at a time.
    """
    wanted = _kind(kind)
    kinds = KINDS if wanted is None else (wanted,)
    with _target(file) as (stream, found):
        places = dict.fromkeys(kinds, 0) | {each: place for each, place in found.items() if each in kinds}
        places |= _places(after or [], kinds)
        try:
            for each in kinds:
                await _export_chain(session, each, places, stream)
        except (HibanaError, KeyboardInterrupt, OSError):
            if file is None:
                told = " ".join(f"--after {each}:{place}" for each, place in places.items() if place)
                output.print_note(f"cut off; go on with {told}" if told else "cut off before the first entry")
            else:
                output.print_note(f"cut off; the same command goes on where {file} ends")
            raise


async def _export_chain(session: Session, kind: str, places: dict[str, int], stream: IO[str] | None) -> None:
    listing = session.client.audit_entries(kind=kind, after_sequence=places[kind], page_size=LARGEST_PAGE)
    async for page in listing.pages():
        for entry in page.items:
            if entry.sequence != places[kind] + 1:
                what_lacks = f"{kind} {places[kind] + 1} to {entry.sequence - 1}"
                output.print_note(f"note: {what_lacks} are not there any more: retention has removed them")
            if stream is None:
                output.print_json(entry)
            else:
                stream.write(json.dumps(output.jsonable(entry), ensure_ascii=True) + "\n")
            places[kind] = entry.sequence
        if stream is not None:
            stream.flush()


@contextmanager
def _target(file: Path | None) -> Iterator[tuple[IO[str] | None, dict[str, int]]]:
    """Open the file to append to, with the newest place of each chain in it; nothing for stdout."""
    if file is None:
        yield None, {}
        return
    try:
        with file.open("a+b") as raw:
            raw.seek(0)
            places: dict[str, int] = {}
            end = 0
            for number, line in enumerate(raw, 1):
                if not line.endswith(b"\n"):
                    break  # an export that was cut off in the middle of a line
                end += len(line)
                _take_place(line, number, file, places)
            raw.truncate(end)
        with file.open("a", encoding="ascii") as stream:
            yield stream, places
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {error.strerror}", next_step="choose another --output") from None


def _take_place(line: bytes, number: int, file: Path, places: dict[str, int]) -> None:
    try:
        told = json.loads(line)
        places[str(told["kind"])] = max(places.get(str(told["kind"]), 0), int(told["sequence"]))
    except (ValueError, KeyError, TypeError):
        raise ConfigError(
            f"line {number} of {file} is no audit entry", next_step="name a file that an export made, or a new one"
        ) from None


def _places(after: list[str], kinds: tuple[str, ...]) -> dict[str, int]:
    found = {}
    for text in after:
        kind, _, number = text.partition(":")
        if kind not in kinds or not number.isascii() or not number.isdigit():
            raise typer.BadParameter(f"{text!r}: write KIND:NUMBER, with a kind of {', '.join(kinds)}")
        found[kind] = int(number)
    return found


def _kind(text: str | None) -> str | None:
    if text is not None and text not in KINDS:
        raise typer.BadParameter(f"{text!r} is none of {', '.join(KINDS)}")
    return text


def what(entry: hibana.AuditEntry) -> str:
    """Spell in one short line what changed, or why it was refused."""
    if entry.detail:
        return _short(entry.detail)
    before, after = entry.before, entry.after
    if before is None and after is None:
        return ""
    if before is None:
        return "new"
    if after is None and "/" not in entry.resource:  # many at once, told by their number
        return _short("gone: " + ", ".join(f"{name} {_value(before, name)}" for name in before))
    if after is None:
        return "gone"
    return _short(", ".join(f"{name}: {_value(before, name)} -> {_value(after, name)}" for name in {**before, **after}))


def _value(fields: Mapping[str, Any], name: str) -> str:
    return json.dumps(fields[name], ensure_ascii=False) if name in fields else "-"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
