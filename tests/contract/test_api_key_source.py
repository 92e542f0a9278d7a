"""Keys as bearer tokens, over two stores of the same data, as two processes of a machine have them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from hibana_server.auth.api_keys import ApiKeySource
from hibana_server.auth.held_token import HeldToken
from hibana_server.auth.sources import KeysNeeded
from hibana_server.auth.tokens import TokenVerifier, issue
from hibana_server.domain import key_text
from hibana_server.domain.api_keys import ApiKey, ApiKeyStore, RecentUses
from hibana_server.domain.callers import Caller, Role
from hibana_server.domain.errors import HibanaError, Unauthenticated
from hibana_server.domain.ids import now_us
from hibana_server.storage.sqlite.modules import SqliteModuleStore
from tests.contract.conftest import TwoModuleStores

OWN = b"o" * 32


class Process:
    """What one process has: its view of the store, and what it remembers."""

    def __init__(self, store: object) -> None:
        assert isinstance(store, SqliteModuleStore)
        self.keys: ApiKeyStore = store.api_keys
        self.uses = RecentUses()
        self.verifier = TokenVerifier(OWN, ApiKeySource(self.keys, self.uses))

    async def caller(self, token: str) -> Caller:
        """Tell who calls, as the edge does."""
        try:
            return self.verifier.verify(token)
        except KeysNeeded:
            return await self.verifier.judge(token)

    async def refusal(self, token: str) -> HibanaError:
        with pytest.raises(Unauthenticated) as caught:
            await self.caller(token)
        assert token not in caught.value.message
        return caught.value


@pytest.fixture
def here(two_module_stores: TwoModuleStores) -> Process:
    return Process(two_module_stores.first)


@pytest.fixture
def there(two_module_stores: TwoModuleStores) -> Process:
    return Process(two_module_stores.second)


async def made(process: Process, seconds: float = 60, role: Role = Role.USER) -> tuple[ApiKey, str]:
    """Store a key; return it and its text."""
    key_id, text = key_text.make()
    now = now_us()
    digest = key_text.digest_of(text)
    key = ApiKey(key_id, "alice", role, "", "alice", now, now + int(seconds * 1e6), digest)
    await process.keys.add(key, most=100)
    return key, text


async def revoke(process: Process, key: ApiKey) -> None:
    await process.keys.change(key.id, lambda before: replace(before, revoke_time=now_us()))


async def test_a_key_is_looked_for_once_and_then_remembered(here: Process) -> None:
    key, text = await made(here, role=Role.ADMIN)
    with pytest.raises(KeysNeeded):
        here.verifier.verify(text)
    assert await here.verifier.judge(text) == Caller("alice", Role.ADMIN)
    remembered = here.verifier.verify(text)
    assert (remembered, remembered.key) == (Caller("alice", Role.ADMIN), key.id)


async def test_a_revocation_holds_at_once_in_every_process(here: Process, there: Process) -> None:
    key, text = await made(here)
    for process in (here, there):
        await process.caller(text)
        process.verifier.verify(text)
    await revoke(there, key)
    for process in (here, there):
        with pytest.raises(KeysNeeded):
            process.verifier.verify(text)
        assert (await process.refusal(text)).reason == "TOKEN_REVOKED"


async def test_any_commit_has_a_key_looked_for_again_and_no_token(here: Process, there: Process) -> None:
    _, text = await made(here)
    token = issue(OWN, "bob", Role.USER, 60)
    await here.caller(text)
    here.verifier.verify(token)
    await made(there)
    with pytest.raises(KeysNeeded):
        here.verifier.verify(text)
    assert here.verifier.verify(token).subject == "bob"
    assert (await here.caller(text)).subject == "alice"


async def test_nobody_is_let_in_after_a_revocation_under_load(here: Process, there: Process) -> None:
    key, text = await made(here)
    revoked = False
    let_in_late = 0

    async def keep_calling(process: Process) -> None:
        nonlocal let_in_late
        while True:
            late = revoked  # as it was when the call was sent
            try:
                await process.caller(text)
            except Unauthenticated:
                return
            let_in_late += late
            await asyncio.sleep(0)

    callers = [asyncio.create_task(keep_calling(process)) for process in [here, there] * 10]
    for _ in range(20):
        await made(here)
    await revoke(there, key)
    revoked = True
    await asyncio.gather(*callers)
    assert let_in_late == 0


async def test_an_expired_key_is_told_from_others_by_its_holder_alone(here: Process) -> None:
    key, text = await made(here, seconds=-1)
    assert (await here.refusal(text)).reason == "TOKEN_EXPIRED"
    body = f"hib_{key.id}_{key_text.make()[1][21:64]}"
    other = body + key_text._checksum(body)
    unknown = await here.refusal(key_text.make()[1])
    assert (await here.refusal(other)).message == unknown.message
    assert unknown.reason == "TOKEN_INVALID"


async def test_what_is_no_key_is_refused_without_a_look(here: Process) -> None:
    _, text = await made(here)
    for wrong in (text[:-1], text + "x", text.swapcase(), "hib_", "hib_" + "x" * 100_000, "hib_\0\ud800"):
        with pytest.raises(Unauthenticated):
            here.verifier.verify(wrong)


async def test_many_unknown_keys_at_once_are_few_readings(here: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = 0
    find = here.keys.find

    async def counting(ids: set[str]) -> dict[str, ApiKey]:
        nonlocal readings
        readings += 1
        return await find(ids)

    monkeypatch.setattr(here.keys, "find", counting)
    await asyncio.gather(*(here.refusal(key_text.make()[1]) for _ in range(500)))
    assert readings <= 3


async def test_uses_are_remembered_by_key(here: Process) -> None:
    key, text = await made(here)
    before = time.time()
    await here.caller(text)
    first = here.uses.take()[key.id]
    assert first >= int(before * 1e6)
    here.verifier.verify(text)
    assert here.uses.take()[key.id] >= first
    assert here.uses.take() == {}


async def test_a_held_key_is_known_until_something_changes(here: Process, there: Process) -> None:
    key, text = await made(here)
    held = HeldToken(here.verifier, text)
    assert held.known() is None
    assert await held.check() == held.known() == key.expire_time / 1e6
    await made(there)
    assert held.known() is None
    assert await held.check() == held.known()
    await revoke(there, key)
    assert held.known() is None
    with pytest.raises(Unauthenticated) as caught:
        await held.check()
    assert caught.value.reason == "TOKEN_REVOKED"


async def test_a_held_token_is_judged_anew_when_keys_were_replaced(here: Process) -> None:
    token = issue(OWN, "bob", Role.USER, 60)
    held = HeldToken(here.verifier, token)
    here.verifier.verify(token)
    assert held.known() is not None
    here.verifier.forget()
    assert held.known() is None
    assert await held.check() > time.time()
    late = HeldToken(here.verifier, issue(OWN, "bob", Role.USER, -3600))
    with pytest.raises(Unauthenticated):
        await late.check()
