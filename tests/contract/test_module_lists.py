"""What every ModuleStore lists, for whom, and in which order."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace

import pytest

from hibana_server.domain.access import Action, Granted, decide
from hibana_server.domain.callers import Caller, Role
from hibana_server.domain.errors import Invalid
from hibana_server.domain.modules import Export, Module, Status
from hibana_server.domain.ports import ModuleFilter, ModuleStore
from hibana_server.domain.tiers import Tier
from tests.contract.samples import FACTS, a_module, a_version

ALICE = ModuleFilter(viewer="alice", viewer_is_admin=False)
BOB = ModuleFilter(viewer="bob", viewer_is_admin=False)
ADMIN = ModuleFilter(viewer="root", viewer_is_admin=True)

DISABLED = {"status": Status.DISABLED}
DELETED = {"status": Status.DELETED}


async def store(modules: ModuleStore, given: Iterable[Module], *, publish: bool = True) -> None:
    for module in given:
        await modules.add_version(module, a_version(module), publish=publish)


async def names(modules: ModuleStore, where: ModuleFilter, limit: int = 100) -> list[str]:
    """Return all names in order, read page by page."""
    found: list[str] = []
    cursor = ""
    while True:
        page = await modules.list_modules(where, limit=limit, cursor=cursor)
        assert len(page.modules) <= limit
        found += [module.name for module in page.modules]
        if not page.next_cursor:
            assert page.total_size == len(found)
            return found
        cursor = page.next_cursor


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_order_is_tier_then_newest_first(modules: ModuleStore, limit: int) -> None:
    tiers = [Tier.USER, Tier.SYSTEM, Tier.ADMIN] * 3
    # Equal times put the order on the uid.
    given = [a_module(f"m{n}", tier=tier, time=n // 6, owner="root") for n, tier in enumerate(tiers)]
    await store(modules, given)
    assert await names(modules, ADMIN, limit) == ["m7", "m4", "m1", "m8", "m5", "m2", "m6", "m3", "m0"]


async def test_paging_is_steady_while_modules_are_added(modules: ModuleStore) -> None:
    await store(modules, [a_module(f"old-{n}") for n in range(7)])
    seen: list[str] = []
    cursor = ""
    for n in range(10):
        page = await modules.list_modules(ALICE, limit=2, cursor=cursor)
        seen += [module.name for module in page.modules]
        await store(modules, [a_module(f"new-{n}")])
        cursor = page.next_cursor
        if not cursor:
            break
    assert seen == [f"old-{n}" for n in reversed(range(7))]


@pytest.mark.parametrize(
    ("change", "tier", "viewers", "executable_for"),
    [
        ({}, Tier.USER, "alice root", "alice"),
        ({"is_public": True}, Tier.USER, "alice bob root", "alice bob root"),
        ({"allowed_users": ("bob",)}, Tier.USER, "alice bob root", "alice bob"),
        ({}, Tier.SYSTEM, "alice bob root", "alice bob root"),
        ({}, Tier.ADMIN, "root", "root"),  # alice made it while she was an admin
        ({"allowed_users": ("bob",), "is_public": True}, Tier.ADMIN, "root", "root"),
        (DISABLED, Tier.USER, "alice root", ""),
        ({**DISABLED, "is_public": True, "allowed_users": ("bob",)}, Tier.USER, "alice root", ""),
        (DISABLED, Tier.SYSTEM, "root", ""),
        ({**DELETED, "is_public": True}, Tier.USER, "alice root", ""),
        (DELETED, Tier.SYSTEM, "root", ""),
    ],
)
async def test_who_sees_and_who_may_execute(
    modules: ModuleStore, change: dict[str, object], tier: Tier, viewers: str, executable_for: str
) -> None:
    module = replace(a_module("it", tier=tier), **change)  # type: ignore[arg-type] # a table of fields
    await store(modules, [module])
    for where in (ALICE, BOB, ADMIN):
        asking = replace(where, status=module.status)
        assert await names(modules, asking) == (["it"] if where.viewer in viewers.split() else [])
        runnable = await names(modules, replace(asking, executable_only=True))
        assert runnable == (["it"] if where.viewer in executable_for.split() else [])


async def test_lists_show_what_the_access_rules_show(modules: ModuleStore) -> None:
    sharing: list[dict[str, object]] = [{}, {"is_public": True}, {"allowed_users": ("bob",)}]
    given = [
        replace(a_module(f"m{n}", tier=tier, owner=owner), status=status, **shared)  # type: ignore[arg-type] # a table
        for n, (tier, owner, status, shared) in enumerate(itertools.product(Tier, ("alice", "bob"), Status, sharing))
    ]
    await store(modules, given)
    for subject, role in itertools.product(("alice", "bob", "eve"), Role):
        caller = Caller(subject, role)
        asking = ModuleFilter(viewer=subject, viewer_is_admin=caller.is_admin)
        for status in Status:
            of_status = [module for module in given if module.status is status]
            for action, only in ((Action.VIEW, False), (Action.EXECUTE, True)):
                listed = await names(modules, replace(asking, status=status, executable_only=only))
                granted = [m.name for m in of_status if isinstance(decide(caller, action, m), Granted)]
                assert sorted(listed) == sorted(granted), (caller, status, action)


async def test_without_a_status_everything_but_the_deleted_is_listed(modules: ModuleStore) -> None:
    await store(modules, [replace(a_module(status.value), status=status) for status in Status])
    for where in (ALICE, ADMIN):
        assert await names(modules, replace(where, status=None)) == ["disabled", "active"]


async def test_nothing_published_is_nothing_to_execute(modules: ModuleStore) -> None:
    await store(modules, [a_module("draft")], publish=False)
    assert await names(modules, ALICE) == ["draft"]
    assert await names(modules, replace(ALICE, executable_only=True)) == []


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"tier": Tier.SYSTEM}, ["image"]),
        ({"tier": Tier.USER}, ["zed", "cut-50"]),
        ({"owner": "bob"}, ["zed"]),
        ({"name_prefix": "cut"}, ["cut-50"]),
        ({"name_prefix": "CUT"}, []),
        ({"name_prefix": "c%"}, []),
        ({"text": "IMAGE"}, ["image", "cut-50"]),
        ({"text": "50%"}, ["cut-50"]),
        ({"text": "5_%"}, []),
        ({"text": "_"}, ["image"]),
        ({"text": "STRASSE"}, ["zed"]),
        ({"text": "key/a"}, ["zed"]),
        ({"text": 'val"ue'}, ["zed"]),
        ({"text": '":"'}, []),
        ({"text": "' OR 1=1 --"}, []),
        ({"text": "image", "tier": Tier.USER}, ["cut-50"]),
    ],
)
async def test_filters(modules: ModuleStore, filters: dict[str, object], expected: list[str]) -> None:
    await store(
        modules,
        [
            a_module("image", tier=Tier.SYSTEM, description="snake_case"),
            a_module("cut-50", description="Cuts an Image by 50% of its width"),
            a_module("zed", owner="bob", description="Straße", labels={"key/a": 'val"ue'}),
        ],
    )
    assert await names(modules, replace(ADMIN, **filters)) == expected  # type: ignore[arg-type] # a table of fields


async def test_a_text_too_long_to_search_for_is_refused(modules: ModuleStore) -> None:
    with pytest.raises(Invalid):
        await modules.list_modules(replace(ALICE, text="x" * 100_000), limit=1)


async def test_versions_are_listed_newest_first(modules: ModuleStore) -> None:
    module = a_module("one")
    for n in range(5):
        await modules.add_version(module, a_version(module, f"{n}"), publish=n % 2 == 0)
    for published_only, expected in [(False, ["4", "3", "2", "1", "0"]), (True, ["4", "2", "0"])]:
        found: list[str] = []
        cursor = ""
        while True:
            page = await modules.list_versions(module.uid, published_only=published_only, limit=2, cursor=cursor)
            assert page.total_size == len(expected)
            found += [version.version for version in page.versions]
            cursor = page.next_cursor
            if not cursor:
                break
        assert found == expected
    assert (await modules.list_versions("unknown", published_only=False, limit=2)).versions == ()


async def test_pages_of_large_modules_end_early(modules: ModuleStore) -> None:
    users = tuple(f"{n:03d}".rjust(256, "x") for n in range(1000))
    await store(modules, [a_module(f"m{n}", allowed=users) for n in range(9)])
    expected = [f"m{n}" for n in reversed(range(9))]
    page = await modules.list_modules(ALICE, limit=100)
    assert 1 <= len(page.modules) < 9
    assert page.total_size == 9
    assert await names(modules, ALICE, 100) == expected
    assert await names(modules, ALICE, 1) == expected


async def test_pages_of_large_versions_end_early_and_leave_out_their_exports(modules: ModuleStore) -> None:
    module = a_module("one")
    exports = tuple(Export(f"{n:04d}".rjust(256, "x"), (), (), callable=True) for n in range(10_000))
    for n in range(5):
        version = replace(a_version(module, f"{n}"), facts=replace(FACTS, exports=exports))
        await modules.add_version(module, version, publish=True)
    first = await modules.list_versions(module.uid, published_only=False, limit=100)
    assert 1 <= len(first.versions) < 5
    assert first.total_size == 5
    found, cursor = [*first.versions], first.next_cursor
    while cursor:
        page = await modules.list_versions(module.uid, published_only=False, limit=100, cursor=cursor)
        found, cursor = [*found, *page.versions], page.next_cursor
    assert [v.version for v in found] == ["4", "3", "2", "1", "0"]
    assert {v.facts for v in first.versions} == {replace(FACTS, exports=(), imports=())}
    whole = await modules.get_version(module.uid, "4")
    assert whole is not None
    assert whole.facts.exports == exports


@pytest.mark.parametrize("cursor", ["x", "!!!", "é", "A" * 5000, "bnVsbA", "WyJ2ZXJzaW9ucyIsMSwiYSJd"])
async def test_foreign_cursors_are_refused(modules: ModuleStore, cursor: str) -> None:
    with pytest.raises(Invalid) as caught:
        await modules.list_modules(ALICE, limit=1, cursor=cursor)
    assert caught.value.reason == "PAGE_TOKEN_INVALID"
