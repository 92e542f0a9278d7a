"""Whether the chains of the audit log hold, from where they were cut to their newest entries."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

from hibana_server.doctor.check import Check, State
from hibana_server.domain.audit_chain import Verified
from hibana_server.settings.model import Settings
from hibana_server.storage import migrate
from hibana_server.storage.audit_head import HeadDamagedError
from hibana_server.storage.data_dir import DataDir, load_or_create_key
from hibana_server.storage.sqlite.audit import AuditReader

_BROKEN = (
    "Somebody changed the files of the audit log, or a disk did. Keep them as they are, find out who could write "
    "there, and compare with exports (hibana audit export) and the log's audit_head lines."
)
_GAP = "A start found the chains other than they were left: restored from a backup, or changed. See these entries."


def examine_audit(settings: Settings) -> Iterator[Check]:
    """Read all entries; takes a second for each hundred thousand or so. Changes nothing. Raises Unavailable."""
    data_dir = DataDir(Path(settings.data_dir).absolute())
    if not data_dir.audit_db.exists():
        if data_dir.audit_head.exists():
            yield Check("audit", State.FAIL, "audit.db is missing, and audit.head tells that there was one", _BROKEN)
        elif data_dir.registry_db.exists():
            yield Check("audit", State.OK, "an older release kept none")
        return
    if migrate.current_revision(data_dir.audit_db) != migrate.revisions("audit")[-1]:
        yield Check("audit", State.WARN, "not looked at: another release wrote it", "hibana-server migrate")
        return
    key_file = data_dir.keys / "audit.key"
    if not key_file.exists():
        detail = "keys/audit.key is missing: nothing can be verified"
        yield Check("audit", State.FAIL, detail, "Restore it from a backup of the data directory.")
        return
    try:
        found = asyncio.run(_verify(data_dir, load_or_create_key(key_file)))
    except HeadDamagedError as error:
        yield Check("audit", State.FAIL, str(error), _BROKEN)
    else:
        yield from map(judge, found)


def judge(found: Verified) -> Check:
    """Judge one chain."""
    title = f"audit {found.kind}"
    if found.broken:
        return Check(title, State.FAIL, found.broken, _BROKEN)
    newest = f"; newest {found.newest.sequence}, hash {found.newest.hash.hex()}" if found.newest.sequence else ""
    detail = f"{found.entries} entries hold{newest}"
    if found.gaps:
        return Check(title, State.WARN, f"{detail}; {found.gaps[0]} ({len(found.gaps)} such entries)", _GAP)
    return Check(title, State.OK, detail)


async def _verify(data_dir: DataDir, key: bytes) -> list[Verified]:
    reader = AuditReader(data_dir.audit_db, data_dir.audit_head, key)
    try:
        return await reader.verify()
    finally:
        await reader.close()
