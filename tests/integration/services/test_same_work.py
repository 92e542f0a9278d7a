"""What a caller may not see costs the same work as what is not there: the time of an answer tells nothing.

Times themselves are not measured here; the statements that the database is asked are the same ones, and of credentials
so are the functions that are called. tests/integration/rpc/test_same_work.py asks the same of every RPC.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import replace
from types import FrameType

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from hibana_server.auth.api_keys import ApiKeySource
from hibana_server.auth.sources import KeysNeeded
from hibana_server.auth.tokens import TokenVerifier
from hibana_server.domain import key_text
from hibana_server.domain.access import Action
from hibana_server.domain.api_keys import ApiKey, KeyRules, RecentUses
from hibana_server.domain.callers import Caller, Role
from hibana_server.domain.errors import NotFound, Unauthenticated
from hibana_server.domain.executions import Outcome
from hibana_server.domain.ids import now_us
from hibana_server.domain.modules import Module, Status
from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.services.api_keys import ApiKeys, KeyWanted
from hibana_server.services.catalog import Catalog
from hibana_server.storage.data_dir import DataDir
from hibana_server.storage.sql import api_keys
from hibana_server.storage.sqlite.executions import SqliteExecutionStore
from hibana_server.storage.sqlite.modules import SqliteModuleStore
from tests.contract.samples import a_begun, a_module, a_version, ended

BOB = Caller("bob", Role.USER)


@pytest.fixture
async def store(data_dir: DataDir) -> AsyncIterator[SqliteModuleStore]:
    opened = SqliteModuleStore(data_dir.registry_db)
    yield opened
    await opened.close()


@contextlib.contextmanager
def functions(*, of: str = "hibana_server") -> Iterator[list[str]]:
    """Collect which functions of a package are called on this thread, comparisons of digests included."""
    seen: list[str] = []

    def note(frame: FrameType, kind: str, called: object) -> None:
        module = str(frame.f_globals.get("__name__", ""))
        if kind == "call" and module.startswith(of):
            seen.append(f"{module}.{frame.f_code.co_qualname}")
        elif kind == "c_call" and called in (hmac.compare_digest, hashlib.sha256):
            seen.append("compare_digest" if called is hmac.compare_digest else "sha256")

    sys.setprofile(note)
    try:
        yield seen
    finally:
        sys.setprofile(None)


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


@pytest.mark.parametrize("state", ["living", "revoked", "expired"])
async def test_a_wrong_secret_takes_the_work_of_an_unknown_key(store: SqliteModuleStore, state: str) -> None:
    """Who knows the id of a key, which lists and logs show, learns nothing about it by trying secrets."""
    key_id, text = key_text.make()
    now = now_us()
    expires = now + (-1 if state == "expired" else 10**9)
    revoked = now if state == "revoked" else None
    digest = key_text.digest_of(text)
    await store.api_keys.add(ApiKey(key_id, "alice", Role.USER, "", "alice", now, expires, digest, revoked), most=1)
    body = f"hib_{key_id}_{key_text.make()[1][21:64]}"
    wrong, unknown = body + key_text._checksum(body), key_text.make()[1]
    verifier = TokenVerifier(b"o" * 32, ApiKeySource(store.api_keys, RecentUses()))

    async def refusal(token: str) -> tuple[list[str], list[str], str, str]:
        with statements() as asked, functions() as called:
            with pytest.raises(KeysNeeded):
                verifier.verify(token)
            with pytest.raises(Unauthenticated) as caught:
                await verifier.judge(token)
        return asked, called, caught.value.reason, caught.value.message

    for token in (unknown, wrong):
        await refusal(token)  # connections are opened and statements compiled by the first of their kind
    one, other = await refusal(wrong), await refusal(unknown)
    assert one == other
    asked, called, *_ = one
    assert sum("FROM api_keys" in statement for statement in asked) == 1
    # What is compared is not empty: one key is decoded, one digest made, two compared.
    names = (f"{api_keys.__name__}._key", f"{key_text.__name__}.digest_of", "compare_digest")
    assert [called.count(name) for name in names] == [1, 1, 1]


async def test_revoking_somebody_elses_key_asks_what_an_unknown_one_asks(
    data_dir: DataDir, store: SqliteModuleStore
) -> None:
    records = SqliteExecutionStore(data_dir.executions_db)
    keys = ApiKeys(store.api_keys, records.key_uses, RecentUses(), KeyRules())
    made, _ = await keys.create(Caller("alice", Role.USER), KeyWanted())
    found = await work_of(keys.revoke(BOB, f"apiKeys/{made.id}"))
    assert found == await work_of(keys.revoke(BOB, f"apiKeys/{key_text.make()[0]}"))
    await records.close()
