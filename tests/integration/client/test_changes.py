"""The life of a module through the client: change, share, publish, delete, give away, count."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

import hibana
from tests.framework.server import Server

Guest = Callable[[str], bytes]


@pytest.fixture
async def mine(client: hibana.Client, guest: Guest) -> hibana.Client:
    """Give a client whose caller has the module `m` in the versions 1 and 2; 2 is live."""
    await client.upload(guest("client_numbers"), name="m", version="1")
    await client.upload(guest("client_cat"), name="m", version="2")
    return client


@pytest.fixture
async def other(server: Server, subject: str) -> AsyncIterator[hibana.Client]:
    """Give the client of another caller."""
    async with hibana.Client(server.address, token=server.token(f"{subject}-other")) as client:
        yield client


async def test_what_is_named_changes_and_nothing_else(mine: hibana.Client) -> None:
    before = await mine.module("user/m")
    changed = await mine.update(
        "user/m",
        description="sums",
        labels={"team": "a"},
        limits=hibana.ModuleLimits(memory_bytes=2**20, timeout=1.5),
        etag=before.etag,
    )
    assert (changed.description, changed.labels) == ("sums", {"team": "a"})
    assert changed.limits == hibana.ModuleLimits(memory_bytes=2**20, timeout=1.5)
    assert (changed.is_public, changed.allowed_users, changed.status) == (False, (), hibana.Status.ACTIVE)
    assert await mine.module("user/m") == changed
    again = await mine.update(changed.name, limits=hibana.ModuleLimits(), labels={})
    assert (again.limits, again.labels, again.description) == (hibana.ModuleLimits(), {}, "sums")
    with pytest.raises(hibana.Conflict) as caught:
        await mine.update("user/m", description="late", etag=before.etag)
    assert caught.value.reason == "ETAG_MISMATCH"


async def test_a_change_can_be_tried_without_making_it(mine: hibana.Client) -> None:
    tried = await mine.update("user/m", description="perhaps", validate_only=True)
    assert tried.description == "perhaps"
    assert (await mine.module("user/m")).description == ""
    with pytest.raises(hibana.InvalidArgument) as caught:
        await mine.update("user/m", labels={"BAD KEY": "x"}, validate_only=True)
    assert caught.value.violations


async def test_a_change_of_nothing_is_not_sent(mine: hibana.Client) -> None:
    with pytest.raises(hibana.ConfigError, match="changes nothing"):
        await mine.update("user/m")
    with pytest.raises(hibana.ConfigError, match="no module status"):
        await mine.update("user/m", status="gone")


async def test_a_disabled_module_is_not_run(mine: hibana.Client) -> None:
    await mine.update("user/m", status=hibana.Status.DISABLED)
    access = await mine.test_access("user/m")
    assert (access.granted, bool(access.explanation)) == (False, True)
    with pytest.raises(hibana.FailedPrecondition) as caught:
        await mine.run("user/m")
    assert caught.value.reason == "MODULE_DISABLED"
    await mine.update("user/m", status="active")
    assert (await mine.run("user/m", stdin=b"x")).stdout == b"x"


async def test_sharing_lets_others_run_it_and_only_them(
    mine: hibana.Client, other: hibana.Client, subject: str
) -> None:
    ref = (await mine.module("user/m")).reference
    with pytest.raises(hibana.NotFound):
        await other.test_access(ref)
    assert (await mine.share("user/m", add=[f"{subject}-other", "x"])).allowed_users == (f"{subject}-other", "x")
    access = await other.test_access(ref)
    assert access.granted
    assert access.limits is not None
    assert access.limits.memory_bytes > 0
    assert (await other.run(ref, stdin=b"x")).ok
    assert (await mine.share("user/m", remove=[f"{subject}-other"])).allowed_users == ("x",)
    with pytest.raises(hibana.NotFound):
        await other.run(ref)
    assert (await mine.share("user/m", public=True)).is_public
    assert (await other.run(ref, stdin=b"x")).ok


async def test_sharing_with_several_at_once_loses_nobody(mine: hibana.Client) -> None:
    await asyncio.gather(*(mine.share("user/m", add=[f"user-{number}"]) for number in range(4)))
    assert set((await mine.module("user/m")).allowed_users) == {f"user-{number}" for number in range(4)}


async def test_publishing_an_older_version_rolls_back(mine: hibana.Client) -> None:
    assert (await mine.publish("user/m@1")).live_version == "1"
    assert (await mine.run("user/m", "add", 1, 2)).value == 3
    assert (await mine.publish("user/m@2")).live_version == "2"
    with pytest.raises(hibana.NotFound):
        await mine.publish("user/m@3")


async def test_a_version_is_deleted_for_good(mine: hibana.Client, guest: Guest) -> None:
    assert (await mine.delete_version("user/m@1")).version == "1"
    assert [v.version async for v in mine.versions("user/m")] == ["2"]
    with pytest.raises(hibana.AlreadyExists):
        await mine.upload(guest("client_exit"), name="m", version="1")


async def test_a_deleted_module_can_be_taken_back(mine: hibana.Client) -> None:
    deleted = await mine.delete("user/m")
    assert (deleted.status, deleted.delete_time is not None) == (hibana.Status.DELETED, True)
    with pytest.raises(hibana.HibanaError):
        await mine.run("user/m")
    assert [m.name async for m in mine.modules(owner=deleted.owner, status="deleted")] == [deleted.name]
    back = await mine.undelete(deleted.name)
    assert (back.status, back.delete_time) == (hibana.Status.ACTIVE, None)
    assert (await mine.run("user/m", stdin=b"x")).ok


async def test_a_module_is_given_away(mine: hibana.Client, other: hibana.Client, subject: str) -> None:
    given = await mine.transfer("user/m", f"{subject}-other")
    assert given.owner == f"{subject}-other"
    assert (await other.module("user/m")).name == given.name
    with pytest.raises(hibana.NotFound):
        await mine.module(given.name)


async def test_a_request_id_of_ones_own_makes_a_change_once(mine: hibana.Client) -> None:
    etag = (await mine.module("user/m")).etag
    first = await mine.update("user/m", description="once", etag=etag, request_id="mine-1")
    await mine.update("user/m", description="twice")
    again = await mine.update("user/m", description="once", etag=etag, request_id="mine-1")
    assert again == first
    assert (await mine.module("user/m")).description == "twice"
    with pytest.raises(hibana.InvalidArgument) as caught:
        await mine.update("user/m", description="other", request_id="mine-1")
    assert caught.value.reason == "REQUEST_ID_REUSED"


async def test_executions_are_counted(mine: hibana.Client) -> None:
    none = await mine.stats("user/m")
    assert (none.calls, none.outcomes, none.p50, none.last_run_time) == (0, {}, None, None)
    await mine.run("user/m@1", "add", 1, 2)
    await mine.run("user/m@1", "divide", 1, 0)
    while (stats := await mine.stats("user/m")).calls < 2:
        pass  # counted a moment after the answer
    assert stats.outcomes == {hibana.Outcome.OK: 1, hibana.Outcome.TRAP: 1}
    assert stats.p50 is not None
    assert stats.p99 is not None
    assert 0 < stats.p50 <= stats.p99
    assert stats.last_run_time is not None


async def test_what_is_anothers_cannot_be_changed(mine: hibana.Client, other: hibana.Client) -> None:
    module = await mine.share("user/m", public=True)
    with pytest.raises(hibana.PermissionDenied):
        await other.update(module.name, description="mine now")
    with pytest.raises(hibana.PermissionDenied):
        await other.delete(module.name)
