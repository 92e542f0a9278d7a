"""What every ModuleStore does when modules and versions change."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from hibana_server.domain.errors import AlreadyExists, Conflict, HibanaError, Invalid, NotFound
from hibana_server.domain.modules import Module, ModuleLimits, ModuleVersion, Status
from hibana_server.domain.ports import ModuleFilter, ModuleStore
from hibana_server.domain.requests import Answer, RequestKey
from hibana_server.domain.tiers import Tier
from tests.contract.conftest import TwoModuleStores
from tests.contract.samples import a_module, a_version

KEY = RequestKey("alice", "r1", b"digest", 7)


async def stored(modules: ModuleStore, name: str = "one", owner: str = "alice", sha256: str = "a" * 64) -> Module:
    given = a_module(name, owner=owner)
    module, _ = await modules.add_version(given, a_version(given, sha256=sha256), publish=True)
    return module


def given_to(owner: str) -> object:
    return lambda module: replace(module, owner=owner, update_time=9)


async def test_every_field_that_changes_is_stored(modules: ModuleStore) -> None:
    module = await stored(modules)
    wanted = replace(
        module,
        description="Ü",
        status=Status.DISABLED,
        status_before=Status.DISABLED,
        is_public=True,
        allowed_users=("zoe", "bob", "zoe"),
        limits=ModuleLimits(),
        labels={"k": "v"},
        update_time=123,
        delete_time=124,
        live_version="",
    )
    changed = await modules.change(module.uid, lambda _: wanted)
    assert changed == replace(wanted, allowed_users=("bob", "zoe"), revision=module.revision + 1)
    assert changed.etag != module.etag
    assert await modules.get(module.uid) == changed
    cleared = await modules.change(module.uid, lambda m: replace(m, allowed_users=()))
    assert await modules.get(module.uid) == cleared
    assert cleared.allowed_users == ()
    found = await modules.list_modules(
        ModuleFilter("root", viewer_is_admin=True, status=Status.DISABLED, text="ü"), limit=9
    )
    assert found.modules == (cleared,)


async def test_no_change_is_no_revision(modules: ModuleStore) -> None:
    module = await stored(modules)
    generation = modules.generation()
    assert await modules.change(module.uid, lambda m: m) == module
    assert await modules.get(module.uid) == module
    assert modules.generation() == generation


async def test_a_change_that_is_refused_changes_nothing(modules: ModuleStore) -> None:
    module = await stored(modules)

    def refuse(_: Module) -> Module:
        raise Conflict("no")

    with pytest.raises(Conflict):
        await modules.change(module.uid, refuse, request=KEY)
    assert await modules.get(module.uid) == module
    assert await modules.remembered(KEY) is None


async def test_unknown_modules_and_versions_are_not_found(modules: ModuleStore) -> None:
    module = await stored(modules)
    with pytest.raises(NotFound):
        await modules.change("unknown", lambda m: m)
    for uid, version in (("unknown", "1.0.0"), (module.uid, "9")):
        with pytest.raises(NotFound):
            await modules.publish(uid, version, lambda m, _: m, time=1)
        with pytest.raises(NotFound):
            await modules.delete_version(uid, version, lambda _, __: None, time=1)


async def test_concurrent_changes_do_not_undo_each_other(two_module_stores: TwoModuleStores) -> None:
    module = await stored(two_module_stores.first)

    def add(word: str) -> object:
        return lambda m: replace(m, labels={**m.labels, word: ""})

    stores = (two_module_stores.first, two_module_stores.second)
    await asyncio.gather(*(stores[n % 2].change(module.uid, add(f"w{n}")) for n in range(12)))  # type: ignore[arg-type] # a lambda
    changed = await two_module_stores.second.get(module.uid)
    assert changed is not None
    assert set(changed.labels) == {f"w{n}" for n in range(12)}
    assert changed.revision == module.revision + 12


async def test_a_version_goes_live_and_its_first_time_stays(modules: ModuleStore) -> None:
    module = await stored(modules)
    await modules.add_version(module, a_version(module, "2", sha256="b" * 64), publish=False)
    seen: list[ModuleVersion] = []

    def live(m: Module, v: ModuleVersion) -> Module:
        seen.append(v)
        return replace(m, live_version=v.version)

    changed = await modules.publish(module.uid, "2", live, time=77)
    assert (changed.live_version, seen[0].sha256, seen[0].publish_time) == ("2", "b" * 64, None)
    await modules.publish(module.uid, "1.0.0", live, time=78)
    await modules.publish(module.uid, "2", live, time=79)
    version = await modules.get_version(module.uid, "2")
    assert version is not None
    assert version.publish_time == 77


async def test_a_deleted_version_leaves_its_label_taken(modules: ModuleStore) -> None:
    module = await stored(modules)
    version = a_version(module, "2", sha256="b" * 64)
    await modules.add_version(module, version, publish=False)

    def refuse(_: Module, __: ModuleVersion) -> None:
        raise Conflict("no")

    with pytest.raises(Conflict):
        await modules.delete_version(module.uid, "2", refuse, time=5)
    gone = await modules.delete_version(module.uid, "2", lambda _, __: None, time=5)
    assert gone == replace(version, module_uid=module.uid)
    assert await modules.get_version(module.uid, "2") is None
    with pytest.raises(AlreadyExists) as caught:
        await modules.add_version(module, a_version(module, "2", sha256="c" * 64), publish=False)
    assert caught.value.reason == "VERSION_TAKEN"
    again, _ = await modules.add_version(module, a_version(module, "2", sha256="b" * 64), publish=False)
    assert again == module
    await modules.delete_version(module.uid, "2", lambda _, __: None, time=6)


async def test_a_new_owner_takes_the_name_with_all_its_labels(modules: ModuleStore) -> None:
    module = await stored(modules)
    await modules.add_version(module, a_version(module, "2", sha256="b" * 64), publish=False)
    await modules.delete_version(module.uid, "2", lambda _, __: None, time=5)
    moved = await modules.change(module.uid, given_to("bob"))  # type: ignore[arg-type] # a lambda
    assert (moved.owner, moved.uid) == ("bob", module.uid)
    assert await modules.find(Tier.USER, "alice", "one") is None
    assert await modules.find(Tier.USER, "bob", "one") == moved
    for owner in ("alice", "bob"):
        for label in ("1.0.0", "2"):
            other = a_module("one", owner=owner)
            with pytest.raises(AlreadyExists) as caught:
                await modules.add_version(other, a_version(other, label, sha256="f" * 64), publish=True)
            assert caught.value.reason == "VERSION_TAKEN"
    back = await modules.change(module.uid, given_to("alice"))  # type: ignore[arg-type] # a lambda
    assert (back.owner, back.revision) == ("alice", module.revision + 2)


@pytest.mark.parametrize("there", ["a module", "a deleted module", "a version of other bytes"])
async def test_a_name_that_is_taken_is_not_given(modules: ModuleStore, there: str) -> None:
    module = await stored(modules)
    theirs = await stored(modules, owner="bob", sha256="b" * 64)
    if there == "a deleted module":
        await modules.change(theirs.uid, lambda m: replace(m, status=Status.DELETED))
    if there == "a version of other bytes":
        await modules.change(theirs.uid, given_to("carol"))  # type: ignore[arg-type] # a lambda
    with pytest.raises(AlreadyExists) as caught:
        await modules.change(module.uid, given_to("bob"), request=KEY)  # type: ignore[arg-type] # a lambda
    assert caught.value.reason == "NAME_TAKEN"
    assert await modules.get(module.uid) == module
    # Nothing was left behind by the attempt.
    await modules.add_version(module, a_version(module, "3", sha256="c" * 64), publish=False)


async def test_a_request_is_carried_out_once(two_module_stores: TwoModuleStores) -> None:
    module = await stored(two_module_stores.first)
    stores = (two_module_stores.first, two_module_stores.second)

    def count(m: Module) -> Module:
        return replace(m, description=m.description + "x")

    answers = await asyncio.gather(*(stores[n % 2].change(module.uid, count, request=KEY) for n in range(8)))
    assert {answer.description for answer in answers} == {"x"}
    assert await stores[1].remembered(KEY) == Answer(answers[0])
    for other in (replace(KEY, caller="bob"), replace(KEY, request_id="r2")):
        assert await stores[0].remembered(other) is None
    with pytest.raises(Invalid) as caught:
        await stores[0].remembered(replace(KEY, digest=b"other"))
    assert caught.value.reason == "REQUEST_ID_REUSED"
    calls = (
        stores[0].change(module.uid, count, request=replace(KEY, digest=b"other")),
        stores[0].publish(module.uid, "1.0.0", lambda m, _: m, time=1, request=replace(KEY, digest=b"other")),
        stores[0].delete_version(module.uid, "1.0.0", lambda _, __: None, time=1, request=replace(KEY, digest=b"x")),
        stores[0].add_version(module, a_version(module, "2"), publish=True, request=replace(KEY, digest=b"other")),
    )
    refusals = await asyncio.gather(*calls, return_exceptions=True)
    assert [r.reason for r in refusals if isinstance(r, HibanaError)] == ["REQUEST_ID_REUSED"] * 4


async def test_every_kind_of_change_keeps_its_answer(modules: ModuleStore) -> None:
    keys = [replace(KEY, request_id=f"k{n}") for n in range(4)]
    given = a_module("one", allowed=("bob",), labels={"a": "ü"})
    version = a_version(given)
    module, kept = await modules.add_version(given, version, publish=True, request=keys[0], seconds=1.5)
    assert await modules.remembered(keys[0]) == Answer(module, kept, seconds=1.5, existed=False)
    again = replace(version, create_time=version.create_time + 1)
    await modules.add_version(given, again, publish=False, request=keys[1])
    assert await modules.remembered(keys[1]) == Answer(module, kept, existed=True)
    await modules.add_version(module, a_version(module, "2", sha256="b" * 64), publish=False)
    live = await modules.publish(
        module.uid, "2", lambda m, v: replace(m, live_version=v.version), time=5, request=keys[2]
    )
    assert await modules.remembered(keys[2]) == Answer(live)
    assert await modules.publish(module.uid, "2", lambda m, _: m, time=6, request=keys[2]) == live
    gone = await modules.delete_version(module.uid, "1.0.0", lambda _, __: None, time=6, request=keys[3])
    assert await modules.remembered(keys[3]) == Answer(live, gone)
    assert await modules.delete_version(module.uid, "1.0.0", lambda _, __: None, time=7, request=keys[3]) == gone
    assert await modules.add_version(given, version, publish=True, request=keys[0]) == (module, kept)
