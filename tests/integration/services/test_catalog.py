"""The catalog remembers what a reference means, and forgets it as soon as anyone commits a change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hibana_server.domain.access import Action
from hibana_server.domain.callers import Caller, Role
from hibana_server.domain.errors import AlreadyExists, FailedPrecondition, Invalid, NotFound
from hibana_server.domain.ids import now_us, uuid7
from hibana_server.domain.modules import Convention, Export, Finding, Module, ModuleFacts, ModuleVersion, Severity
from hibana_server.domain.ports import ModuleStore
from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.services.catalog import Catalog
from hibana_server.services.registry import ModuleQuery, Registry
from hibana_server.storage.data_dir import open_data_dir
from hibana_server.storage.migrate import upgrade
from hibana_server.storage.sqlite.modules import SqliteModuleStore

ALICE, BOB = Caller("alice", Role.USER), Caller("bob", Role.USER)
ADMIN = Caller("root", Role.ADMIN)
FACTS = ModuleFacts(Convention.CORE)


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[tuple[ModuleStore, ModuleStore]]:
    """Open the same registry twice, as two processes would."""
    data_dir = open_data_dir(tmp_path / "data")
    upgrade(data_dir)
    first, second = SqliteModuleStore(data_dir.registry_db), SqliteModuleStore(data_dir.registry_db)
    yield first, second
    await first.close()
    await second.close()


@pytest.fixture
def here(stores: tuple[ModuleStore, ModuleStore]) -> Catalog:
    return Catalog(stores[0], DEFAULT_POLICIES)


async def add(
    store: ModuleStore,
    version: str,
    *,
    owner: str = "alice",
    name: str = "m",
    publish: bool = True,
    facts: ModuleFacts = FACTS,
    public: bool = False,
) -> Module:
    now = now_us()
    found = await store.find(Tier.USER, owner, name)
    module = found or Module(uuid7(), Tier.USER, owner, name, is_public=public, create_time=now, update_time=now)
    made = ModuleVersion(
        module.uid, version, version.encode().hex().zfill(64), 8, facts, owner, now, now if publish else None
    )
    stored, _ = await store.add_version(module, made, publish=publish)
    return stored


async def test_a_version_published_elsewhere_runs_at_the_next_call(
    stores: tuple[ModuleStore, ModuleStore], here: Catalog
) -> None:
    await add(stores[0], "1")
    assert (await here.runnable(ALICE, "user/m")).version.version == "1"
    remembered = here.known(ALICE, "user/m")
    assert remembered is not None
    assert await here.runnable(ALICE, "user/m") is remembered
    await add(stores[1], "2")
    assert here.known(ALICE, "user/m") is None
    assert (await here.runnable(ALICE, "user/m")).version.version == "2"


async def test_what_is_remembered_is_remembered_for_one_caller(
    stores: tuple[ModuleStore, ModuleStore], here: Catalog
) -> None:
    await add(stores[0], "1")
    await here.runnable(ALICE, "user/alice/m")
    for caller in (BOB, ADMIN, Caller("alicE", Role.USER)):
        assert here.known(caller, "user/alice/m") is None
    with pytest.raises(NotFound):
        await here.runnable(BOB, "user/alice/m")


async def test_what_does_not_exist_is_not_remembered(stores: tuple[ModuleStore, ModuleStore], here: Catalog) -> None:
    with pytest.raises(NotFound):
        await here.runnable(ALICE, "user/m")
    await add(stores[1], "1")
    assert (await here.runnable(ALICE, "user/m")).version.version == "1"


async def test_what_is_remembered_is_bounded(
    stores: tuple[ModuleStore, ModuleStore], here: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hibana_server.services.catalog.MAX_KEPT", 10)
    await add(stores[0], "1", public=True)
    for number in range(35):
        await here.runnable(Caller(f"caller-{number}", Role.USER), "user/alice/m")
        assert len(here._targets) <= 10


async def test_one_version_is_kept_once_however_it_is_spelled(
    stores: tuple[ModuleStore, ModuleStore], here: Catalog
) -> None:
    module = await add(stores[0], "1", public=True)
    found = {
        id(await here.runnable(caller, reference))
        for caller, reference in (
            (ALICE, "user/m"),
            (ALICE, "user/m@1"),
            (ALICE, "user/%61lice/m"),
            (BOB, "user/al%69ce/m"),
            (BOB, f"modules/{module.uid}"),
        )
    }
    assert len(found) == 1


async def test_descriptions_that_are_remembered_are_bounded(
    stores: tuple[ModuleStore, ModuleStore], here: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hibana_server.services.catalog.MAX_KEPT_EXPORTS", 100)
    many = replace(FACTS, exports=tuple(Export(f"f{n}", (), (), callable=True) for n in range(40)))
    for number in range(9):
        await add(stores[0], "1", name=f"m{number}", facts=many)
    for number in range(9):
        await here.runnable(ALICE, f"user/m{number}")
        assert len(here._targets) == len(here._shared) <= 3


async def test_the_ways_to_name_a_version(stores: tuple[ModuleStore, ModuleStore], here: Catalog) -> None:
    module = await add(stores[0], "1")
    await add(stores[0], "2")
    for reference, version in (
        ("user/m", "2"),
        ("user/m@1", "1"),
        ("user/alice/m@2", "2"),
        (f"modules/{module.uid}", "2"),
        (f"modules/{module.uid}/versions/1", "1"),
    ):
        assert (await here.runnable(ALICE, reference)).version.version == version
        assert (await here.version(ALICE, reference))[1].version == version
    with pytest.raises(NotFound):
        await here.runnable(ALICE, "user/m@3")
    with pytest.raises(Invalid):
        await here.runnable(ALICE, "m")


async def test_unpublished_versions_are_for_those_in_charge(
    stores: tuple[ModuleStore, ModuleStore], here: Catalog
) -> None:
    await add(stores[0], "1", publish=False, public=True)
    with pytest.raises(FailedPrecondition) as caught:
        await here.runnable(ALICE, "user/m")
    assert caught.value.reason == "NO_LIVE_VERSION"
    assert (await here.runnable(ALICE, "user/m@1")).version.publish_time is None
    assert (await here.version(ADMIN, "user/alice/m@1"))[1].version == "1"
    with pytest.raises(NotFound):
        await here.version(BOB, "user/alice/m@1")
    registry = Registry(stores[0], here)
    seen = await registry.list_versions(BOB, "user/alice/m", page_size=0, page_token="")
    assert (seen.versions, seen.total_size) == ((), 0)


async def test_a_version_with_an_error_is_refused_with_its_findings(
    stores: tuple[ModuleStore, ModuleStore], here: Catalog
) -> None:
    finding = Finding(Severity.ERROR, "IMPORT_NOT_GRANTED", "imports env.fetch.", "Ask an admin.")
    await add(stores[0], "1", facts=replace(FACTS, findings=(finding,)))
    with pytest.raises(FailedPrecondition, match=r"imports env.fetch. Ask an admin.") as caught:
        await here.runnable(ALICE, "user/m")
    assert caught.value.reason == "NOT_RUNNABLE"
    assert caught.value.findings == (finding,)


async def test_names_belong_to_their_owner(stores: tuple[ModuleStore, ModuleStore], here: Catalog) -> None:
    mine, other = await add(stores[0], "1"), await add(stores[0], "1", owner="bob")
    assert (await here.module(ALICE, "user/m", Action.VIEW)).uid == mine.uid
    assert (await here.module(BOB, "user/m", Action.VIEW)).uid == other.uid
    with pytest.raises(AlreadyExists):
        await stores[1].add_version(
            mine, ModuleVersion(mine.uid, "1", "f" * 64, 8, FACTS, "alice", now_us()), publish=False
        )


async def test_lists_show_the_allow_list_to_those_in_charge(
    stores: tuple[ModuleStore, ModuleStore], here: Catalog
) -> None:
    now = now_us()
    module = Module(uuid7(), Tier.USER, "alice", "m", allowed_users=("bob",), create_time=now, update_time=now)
    await stores[0].add_version(
        module, ModuleVersion(module.uid, "1", "0" * 64, 8, FACTS, "alice", now, now), publish=True
    )
    registry = Registry(stores[0], here)
    for caller, told in ((ALICE, ("bob",)), (ADMIN, ("bob",)), (BOB, ())):
        (shown,) = (await registry.list_modules(caller, ModuleQuery())).modules
        assert shown.allowed_users == told
        assert (await registry.get(caller, "user/alice/m")).allowed_users == told
