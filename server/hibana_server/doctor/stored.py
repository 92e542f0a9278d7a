"""Whether all that is stored is sound: both databases, and every version's bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

from hibana_server.doctor.check import Check, State
from hibana_server.services.integrity import Kind, Problem, Progress, verify
from hibana_server.settings.model import Settings
from hibana_server.storage import migrate
from hibana_server.storage.blobs.local import LocalBlobStore
from hibana_server.storage.data_dir import DataDir
from hibana_server.storage.sqlite.modules import SqliteModuleStore
from hibana_server.storage.sqlite.soundness import unsound

Tell = Callable[[str], None]
"""Takes a line that says how far the reading is."""

_SHOWN = 5

_FIXES = {
    Kind.MISSING: "Upload the versions again with the same bytes, or restore blobs/ from a backup.",
    Kind.DAMAGED: "Upload the versions again with the same bytes, or restore blobs/ from a backup.",
    Kind.UNNAMED: "Nothing: a running server removes them after registry.unnamed_blob_seconds.",
    Kind.NO_LIVE_VERSION: "Publish a version of each: hibana modules publish REF@VERSION.",
}


def examine_stored(settings: Settings, tell: Tell = lambda _line: None) -> Iterator[Check]:
    """Read all databases and all bytes; takes as long as that takes. Changes nothing. Raises Unavailable."""
    data_dir = DataDir(Path(settings.data_dir).absolute())
    if not data_dir.registry_db.exists():
        yield Check("stored", State.OK, f"nothing is stored in {data_dir.path} yet")
        return
    sound = True
    for name, file in data_dir.databases.items():
        if not file.exists():
            continue  # an older release had none
        tell(f"reading {file.name}")
        wrong = unsound(file)
        sound = sound and not wrong
        if wrong:
            yield Check(f"database {name}", State.FAIL, "; ".join(wrong), "Restore the data directory from a backup.")
        else:
            yield Check(f"database {name}", State.OK, "sound")
    if sound and migrate.current_revision(data_dir.registry_db) != migrate.revisions("registry")[-1]:
        yield Check("versions", State.WARN, "not looked at: an older release wrote them", "hibana-server migrate")
    elif sound:
        yield from asyncio.run(_versions(data_dir, tell))


async def _versions(data_dir: DataDir, tell: Tell) -> list[Check]:
    modules, blobs = SqliteModuleStore(data_dir.registry_db), LocalBlobStore(data_dir.blobs, prepare=False)
    found: dict[Kind, list[Problem]] = {}
    versions = looked_at = 0
    try:
        async for progress in verify(modules.upkeep, blobs):
            versions, looked_at = progress.versions, progress.blobs
            tell(_line(progress, sum(map(len, found.values()))))
            if progress.problem is not None:
                found.setdefault(progress.problem.kind, []).append(progress.problem)
    finally:
        await modules.close()
        blobs.close()
    harmless = not set(found) - {Kind.UNNAMED}
    detail = f"{versions} versions, {looked_at} blobs" + (": every version has its bytes" if harmless else "")
    checks = [Check("versions", State.OK if harmless else State.FAIL, detail, "" if harmless else "See below.")]
    return checks + [_judge(kind, problems) for kind, problems in found.items()]


def _line(progress: Progress, problems: int) -> str:
    return f"{progress.versions} versions, {progress.blobs} blobs read, {problems} problems"


def _judge(kind: Kind, problems: list[Problem]) -> Check:
    names = ", ".join(problem.name for problem in problems[:_SHOWN])
    more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    state = State.WARN if kind is Kind.UNNAMED else State.FAIL
    return Check(f"versions {kind}", state, f"{len(problems)}: {names}{more}", _FIXES[kind])
