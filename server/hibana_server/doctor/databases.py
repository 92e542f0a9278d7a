"""All databases: whether this release knows their schema, and whether their pages hang together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hibana_server.doctor.check import Check, State, spelled
from hibana_server.settings.model import Settings
from hibana_server.storage import migrate
from hibana_server.storage.data_dir import DataDir
from hibana_server.storage.sqlite.examine import DatabaseState, look

_RESTORE = "Restore the data directory from a backup."


def examine_schemas(settings: Settings) -> Iterator[Check]:
    """Read the schemas' revisions. Raises Unavailable."""
    for name, file in _files(settings):
        yield judge_schema(name, look(file, pages=False), migrate.revisions(name))


def examine_pages(settings: Settings) -> Iterator[Check]:
    """Check every page; takes a second for each gigabyte or so. Raises Unavailable."""
    for name, file in _files(settings):
        wrong = look(file, pages=True).wrong
        state, fix = (State.FAIL, _RESTORE) if wrong else (State.OK, "")
        yield Check(f"database {name}", state, "; ".join(wrong) or f"sound, {spelled(file.stat().st_size)}", fix)


def judge_schema(name: str, found: DatabaseState, known: list[str]) -> Check:
    """Compare a database's revision with those this release knows, oldest first."""
    title = f"schema {name}"
    if found.wrong:
        return Check(title, State.FAIL, "; ".join(found.wrong), _RESTORE)
    if not found.is_ours:
        return Check(title, State.FAIL, "no database of Hibana", "Move it away, or choose another --data-dir.")
    if found.revision == known[-1]:
        return Check(title, State.OK, f"{known[-1]}, the newest")
    if found.revision is None:
        return Check(title, State.OK, "empty; the first start makes the tables")
    if found.revision not in known:
        detail = f"{found.revision}, of another release; this one knows up to {known[-1]}"
        return Check(title, State.FAIL, detail, "Run that release or a later one, or restore a backup made before it.")
    fix = "hibana-server migrate; serve does it by itself. Back up first: an older release refuses the new schema."
    return Check(title, State.WARN, f"{found.revision}; this release has {known[-1]}", fix)


def _files(settings: Settings) -> Iterator[tuple[str, Path]]:
    data_dir = DataDir(Path(settings.data_dir).absolute())
    for name, file in data_dir.databases.items():
        if file.exists():
            yield name, file
