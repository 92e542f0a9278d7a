"""The task that cuts chains at their old ends: what is left verifies, also when the server did it by itself."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Sequence

import pytest

from hibana_server.domain.audit import AuditFilter, Chained, Entry, Kind
from hibana_server.domain.callers import Role
from hibana_server.domain.history import Kept
from hibana_server.domain.ids import now_us, uuid7
from hibana_server.services.audit import CUT, AuditRetention
from hibana_server.storage.data_dir import DataDir, load_or_create_key
from hibana_server.storage.sqlite.audit import AuditReader, SqliteAuditStore
from hibana_server.storage.sqlite.modules import SqliteModuleStore
from tests.framework.audit import CHANGE, DENIAL, entries, fields
from tests.framework.server import Server
from tests.integration.test_audit_verify import set_quota, verify
from tests.unit.test_audit_chain import an_entry

DAY = 86400
SECOND = 1_000_000


@pytest.fixture
async def store(data_dir: DataDir) -> AsyncIterator[SqliteAuditStore]:
    """Open the log with the key that a server of this directory has."""
    opened = SqliteAuditStore(data_dir.audit_db, data_dir.audit_head, load_or_create_key(data_dir.keys / "audit.key"))
    await opened.open()
    yield opened
    await opened.close()


def aged(days: float, kind: Kind = Kind.CHANGE) -> Entry:
    return an_entry(1, uid=uuid7(), kind=kind, time=now_us() - int(days * DAY * SECOND))


async def chain(store: SqliteAuditStore, kind: Kind) -> list[Chained]:
    return list((await store.list_entries(AuditFilter(kind=kind, after_sequence=0), limit=500)).entries)


async def test_rounds_follow_one_another_and_tell_what_they_cut(
    store: SqliteAuditStore, data_dir: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = SqliteModuleStore(data_dir.registry_db)
    cuts: asyncio.Queue[Entry] = asyncio.Queue()
    append = store.append

    async def noticed(some: Sequence[Entry]) -> int:
        count = await append(some)
        for entry in some:
            if entry.action == CUT:
                cuts.put_nowait(entry)
        return count

    monkeypatch.setattr(store, "append", noticed)
    kept = {Kind.CHANGE: Kept(100 * DAY, 0), Kind.DENIAL: Kept(10 * DAY, 0), Kind.READ: Kept(10 * DAY, 0)}
    task = asyncio.create_task(AuditRetention(store, modules.outbox, kept).run(0.01))
    try:
        for new in (0, 3):
            old = [aged(20, Kind.DENIAL) for _ in range(600)]
            await store.append([*old, *(aged(5, Kind.DENIAL) for _ in range(new)), aged(20)])
            async with asyncio.timeout(60):
                told = await cuts.get()
            assert (told.source, told.subject, told.resource) == ("service", "", "audit")
            assert fields(told.before) == {"entries": {"denial": 600}}
            assert len(await chain(store, Kind.DENIAL)) == new
    finally:
        task.cancel()
        await asyncio.wait([task])
        await modules.close()
    assert [each.entry.action for each in await chain(store, Kind.CHANGE)].count(CUT) == 2
    reader = AuditReader(data_dir.audit_db, data_dir.audit_head, load_or_create_key(data_dir.keys / "audit.key"))
    found = {each.kind: each for each in await reader.verify()}
    await reader.close()
    assert (found[Kind.DENIAL].entries, found[Kind.DENIAL].newest.sequence) == (3, 1203)
    assert (found[Kind.DENIAL].broken, found[Kind.CHANGE].broken) == ("", "")


async def test_a_server_cuts_by_itself_and_doctor_verifies_what_is_left(
    store: SqliteAuditStore, data_dir: DataDir
) -> None:
    await store.append([*(aged(800) for _ in range(7)), *(aged(1) for _ in range(2))])
    await store.append([aged(100, Kind.DENIAL) for _ in range(5)])
    await store.close()
    assert verify(data_dir.path)[0] == 0
    with Server(data_dir.path, {"AUDIT_SWEEP_SECONDS": "0.1"}) as server:
        await asyncio.to_thread(functools.partial(server.wait_for_log, "audit_cut", removed=12))
        root = server.stubs("root", Role.ADMIN)
        await set_quota(root, 1)
        told = await entries(root, kind=CHANGE)
        assert [(each.sequence, each.action) for each in told][:2] == [(11, "quota.update"), (10, "audit.cut")]
        assert [each.sequence for each in told] == [11, 10, 9, 8]
        assert fields(told[1].before) == {"entries": {"change": 7, "denial": 5}}
        assert (told[1].source, told[1].subject, told[1].request_id) == ("service", "", "")
        assert await entries(root, kind=DENIAL) == []
        # An export goes on behind what it has, and misses nothing of what is left.
        assert [each.sequence for each in await entries(root, kind=CHANGE, after_sequence=3)] == [8, 9, 10, 11]
        await root.close()
        code, running = await asyncio.to_thread(verify, data_dir.path)
        assert (code, running["audit change"][0], running["audit denial"][0]) == (0, "ok", "ok")
    code, stopped = verify(data_dir.path)
    assert code == 0
    assert stopped["audit change"][1].startswith("4 entries hold; newest 11, hash ")
    assert stopped["audit denial"][1].startswith("0 entries hold; newest 5, hash ")
