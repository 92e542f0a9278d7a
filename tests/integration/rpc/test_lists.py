"""Lists: order, pages, filters and counts, bound to what the caller may see."""

from __future__ import annotations

from typing import Any

import pytest

from hibana.v1 import module_pb2, module_registry_pb2
from tests.framework.refusals import refused
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import PUBLIC, create, guest

ListModules = module_registry_pb2.ListModulesRequest
ListVersions = module_registry_pb2.ListModuleVersionsRequest
WASM = guest("client_numbers")


async def names(stubs: Stubs, **fields: Any) -> list[str]:
    answer = await stubs.registry.ListModules(ListModules(**fields))
    found = [module.module_name for module in answer.modules]
    assert answer.total_size >= len(found)
    return found


async def pages(stubs: Stubs, **fields: Any) -> list[list[str]]:
    """Return the names page by page; the count must hold on every page."""
    found, token, totals = [], "", set()
    while True:
        answer = await stubs.registry.ListModules(ListModules(page_token=token, **fields))
        found.append([module.module_name for module in answer.modules])
        totals.add(answer.total_size)
        token = answer.next_page_token
        if not token:
            assert totals == {sum(map(len, found))}
            return found


@pytest.fixture
async def five(caller: Stubs) -> Stubs:
    """Speak for a caller who has made five modules, a to e."""
    for name in "abcde":
        spec = module_pb2.ModuleSpec(description=f"Does {name.upper()}", labels={"letter": name}, is_public=name == "e")
        await create(caller, name, WASM, module=spec)
    return caller


async def test_pages_cover_everything_once_newest_first(five: Stubs) -> None:
    assert await pages(five, owner=five.subject, page_size=2) == [["e", "d"], ["c", "b"], ["a"]]
    assert await pages(five, owner=five.subject, page_size=5) == [["e", "d", "c", "b", "a"]]
    assert await pages(five, owner=five.subject) == [["e", "d", "c", "b", "a"]]


async def test_a_module_made_meanwhile_moves_no_page(five: Stubs) -> None:
    first = await five.registry.ListModules(ListModules(owner=five.subject, page_size=2))
    await create(five, "f", WASM)
    second = await five.registry.ListModules(
        ListModules(owner=five.subject, page_size=2, page_token=first.next_page_token)
    )
    assert [m.module_name for m in second.modules] == ["c", "b"]
    assert second.total_size == 6


async def test_filters(five: Stubs) -> None:
    own = {"owner": five.subject}
    assert await names(five, name_prefix="b", **own) == ["b"]
    assert await names(five, text="does c", **own) == ["c"]
    assert await names(five, text="LETTER", **own) == ["e", "d", "c", "b", "a"]
    assert await names(five, text="%", **own) == []
    assert await names(five, name_prefix="_", **own) == []
    assert await names(five, tier=module_pb2.TIER_USER, executable_only=True, **own) == ["e", "d", "c", "b", "a"]
    assert await names(five, tier=module_pb2.TIER_SYSTEM, **own) == []
    assert await names(five, status=module_pb2.MODULE_STATUS_DISABLED, **own) == []
    assert await names(five, status=module_pb2.MODULE_STATUS_DELETED, **own) == []
    assert await names(five, owner=five.subject.upper()) == []


async def test_others_see_what_they_may_run(five: Stubs, connect: Any, admin: Stubs) -> None:
    other = connect("somebody-else")
    assert await names(other, owner=five.subject) == ["e"]
    answer = await other.registry.ListModules(ListModules(owner=five.subject))
    assert answer.total_size == 1
    assert await names(admin, owner=five.subject) == ["e", "d", "c", "b", "a"]
    assert await names(admin, owner=five.subject, executable_only=True) == ["e"]


@pytest.mark.usefixtures("system_module")
async def test_the_order_is_system_admin_user(admin: Stubs, subject: str) -> None:
    await create(admin, f"tool-{subject}", WASM, tier=module_pb2.TIER_ADMIN)
    await create(admin, f"own-{subject}", WASM)
    answer = await admin.registry.ListModules(ListModules(page_size=500))
    tiers = [module.tier for module in answer.modules]
    assert tiers == sorted(tiers)
    assert set(tiers) == {module_pb2.TIER_SYSTEM, module_pb2.TIER_ADMIN, module_pb2.TIER_USER}
    for tier in set(tiers):
        times = [m.create_time.ToNanoseconds() for m in answer.modules if m.tier == tier]
        assert times == sorted(times, reverse=True)


@pytest.mark.usefixtures("system_module")
async def test_users_see_no_admin_modules(caller: Stubs, admin: Stubs, subject: str) -> None:
    await create(admin, f"secret-{subject}", WASM, tier=module_pb2.TIER_ADMIN)
    assert await names(caller, name_prefix=f"secret-{subject}") == []
    assert await names(caller, tier=module_pb2.TIER_ADMIN) == []
    assert "sums" in await names(caller, tier=module_pb2.TIER_SYSTEM)


async def test_a_page_token_holds_for_its_list_only(five: Stubs, connect: Any) -> None:
    first = ListModules(owner=five.subject, page_size=2)
    token = (await five.registry.ListModules(first)).next_page_token
    for changed in (
        ListModules(owner=five.subject, name_prefix="a", page_token=token),
        ListModules(owner=five.subject, tier=module_pb2.TIER_USER, page_token=token),
        ListModules(page_token=token),
    ):
        refusal = await refused(five.registry.ListModules(changed))
        assert refusal.told == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")
        assert refusal.fields == ("page_token",)
    refusal = await refused(
        connect("token-thief").registry.ListModules(ListModules(owner=five.subject, page_token=token))
    )
    assert refusal.reason == "PAGE_TOKEN_INVALID"
    # The size of the pages may change on the way.
    more = await five.registry.ListModules(ListModules(owner=five.subject, page_size=500, page_token=token))
    assert [m.module_name for m in more.modules] == ["c", "b", "a"]


@pytest.mark.parametrize("token", ["x", "%%%", "a" * 2048, "é", "AAAAAAAAAAAAAAAA", "' OR 1=1 --"])
async def test_other_text_is_no_page_token(five: Stubs, token: str) -> None:
    for call in (
        five.registry.ListModules(ListModules(page_token=token)),
        five.registry.ListModuleVersions(ListVersions(module="user/a", page_token=token)),
    ):
        assert (await refused(call)).told == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")


async def test_versions_come_in_pages_newest_first(caller: Stubs, connect: Any) -> None:
    for version in ("1", "2", "3"):
        await create(caller, "m", WASM, version, module=PUBLIC, publish=version != "2")
    first = await caller.registry.ListModuleVersions(ListVersions(module="user/m", page_size=2))
    assert [v.version for v in first.versions] == ["3", "2"]
    assert first.total_size == 3
    second = await caller.registry.ListModuleVersions(
        ListVersions(module="user/m", page_size=2, page_token=first.next_page_token)
    )
    assert [v.version for v in second.versions] == ["1"]
    assert second.next_page_token == ""
    reference = f"user/{caller.subject}/m"
    seen = await connect("somebody-else").registry.ListModuleVersions(ListVersions(module=reference))
    assert [v.version for v in seen.versions] == ["3", "1"]
    assert seen.total_size == 2
