"""What a caller may not see costs the same work as what is not there: the time of an answer tells nothing.

Times themselves are not measured here; the statements that the database is asked are the same ones.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from hibana_server.domain.access import Action
from hibana_server.domain.callers import Caller, Role
from hibana_server.domain.errors import NotFound
from hibana_server.domain.executions import Outcome
from hibana_server.domain.modules import Module, Status
from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.services.catalog import Catalog
from hibana_server.storage.data_dir import DataDir, open_data_dir
from hibana_server.storage.migrate import upgrade
from hibana_server.storage.sqlite.executions import SqliteExecutionStore
from hibana_server.storage.sqlite.modules import SqliteModuleStore
from tests.contract.samples import a_begun, a_module, a_version, ended

BOB = Caller("bob", Role.USER)


@pytest.fixture
def data_dir(tmp_path: Path) -> DataDir:
    made = open_data_dir(tmp_path / "data")
    upgrade(made)
    return made


@pytest.fixture
async def store(data_dir: DataDir) -> AsyncIterator[SqliteModuleStore]:
    opened = SqliteModuleStore(data_dir.registry_db)
    yield opened
    await opened.close()


@contextlib.contextmanager
def statements() -> Iterator[list[str]]:
    """Collect what any database of this process is asked."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def work_of(call: Awaitable[object]) -> tuple[list[str], str]:
    """Return the statements of a call that finds nothing, and what it said."""
    with statements() as seen, pytest.raises(NotFound) as caught:
        await call
    return seen, str(caught.value)


async def add(store: SqliteModuleStore, module: Module, *, publish: bool = True) -> Module:
    stored, _ = await store.add_version(module, a_version(module), publish=publish)
    if module.status is not Status.ACTIVE:
        stored = await store.change(stored.uid, lambda m: replace(m, status=module.status))
    return stored


@pytest.mark.parametrize(
    "hidden",
    [
        a_module("secret"),
        a_module("secret", allowed=tuple(f"friend-{n}" for n in range(500))),
        a_module("secret", description="x" * 4000, labels={f"k{n}": "v" * 200 for n in range(60)}),
        replace(a_module("secret", public=True), status=Status.DISABLED),
        replace(a_module("secret", public=True), status=Status.DELETED),
        a_module("secret", tier=Tier.ADMIN),
    ],
    ids=["private", "shared with others", "large", "disabled", "deleted", "admin"],
)
async def test_a_hidden_module_is_looked_for_like_an_unknown_one(store: SqliteModuleStore, hidden: Module) -> None:
    stored = await add(store, hidden)
    catalog = Catalog(store, DEFAULT_POLICIES)
    prefix = "admin/" if hidden.tier is Tier.ADMIN else "user/alice/"
    for action in (Action.VIEW, Action.EXECUTE, Action.EDIT, Action.INSPECT):
        for true, unknown in (
            (f"{prefix}secret", f"{prefix}nothing"),
            (f"modules/{stored.uid}", "modules/01900000-0000-7000-8000-00000000ffff"),
        ):
            found = await work_of(catalog.module(BOB, true, action))
            assert found == await work_of(catalog.module(BOB, unknown, action))


async def test_the_allow_list_is_read_for_those_in_charge_only(store: SqliteModuleStore) -> None:
    await add(store, a_module("shared", allowed=("bob", "carol")))
    for viewer, told in (
        (BOB, ("bob",)),
        (Caller("dave", Role.USER), ()),
        (Caller("alice", Role.USER), ("bob", "carol")),
        (Caller("root", Role.ADMIN), ("bob", "carol")),
        (None, ("bob", "carol")),
    ):
        found = await store.find(Tier.USER, "alice", "shared", viewer=viewer)
        assert found is not None
        assert found.allowed_users == told
        assert await store.get(found.uid, viewer=viewer) == found


async def test_a_hidden_version_is_looked_for_like_an_unknown_one(store: SqliteModuleStore) -> None:
    module = await add(store, a_module("open", public=True))
    await store.add_version(module, a_version(module, "2", sha256="b" * 64), publish=False)
    catalog = Catalog(store, DEFAULT_POLICIES)
    found = await work_of(catalog.version(BOB, "user/alice/open@2"))
    assert found == await work_of(catalog.version(BOB, "user/alice/open@3"))
    with statements() as seen:
        assert (await catalog.version(Caller("alice", Role.USER), "user/alice/open@2"))[1].version == "2"
    assert seen != found[0]


async def test_the_record_of_somebody_else_is_not_read(data_dir: DataDir) -> None:
    store = SqliteExecutionStore(data_dir.executions_db)
    record = ended(a_begun(caller="alice"), Outcome.OK)
    await store.finish(record)
    assert await store.get(record.uid, caller="bob") is None
    assert await store.get(record.uid, caller="alice") == await store.get(record.uid) == record
    await store.close()
