"""A machine that does the same to the registry and to a simple model of it, and compares the two."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from hibana_server.domain.callers import Caller
from hibana_server.domain.errors import HibanaError
from hibana_server.domain.ids import now_us
from hibana_server.domain.modules import Status
from hibana_server.domain.requests import RequestKey
from hibana_server.domain.tiers import Tier
from hibana_server.services.integrity import verify
from hibana_server.services.module_change import ModuleChange
from hibana_server.services.registry import ModuleQuery
from hibana_server.services.uploads import Upload
from tests.integration.services.registry_model import (
    ALICE,
    BOB,
    CALLERS,
    CONTENTS,
    UNRUNNABLE,
    House,
    Key,
    Modelled,
    Shared,
    key_of,
    listed,
    modelled,
    pieces,
    told,
)

names, labels = st.sampled_from(["a", "a", "b"]), st.sampled_from(["1", "2"])
contents = st.integers(0, UNRUNNABLE)
callers = st.sampled_from(CALLERS)
actors = st.sampled_from([None, None, None, *CALLERS])
"""Who changes a module: mostly whom it belongs to, since most of what others try changes nothing."""
numbers = st.integers(0, 11)


class RegistryMachine(RuleBasedStateMachine):
    """Does the same to the services and to the model."""

    def __init__(self, shared: Shared) -> None:
        super().__init__()
        self._shared = shared
        # In memory where there is such a place: what is tried here is not the disk, and syncing takes most of the time.
        memory = "/dev/shm"
        self._directory = tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None)
        self.house = self.make_house(shared, Path(self._directory.name))
        self.modules: list[Modelled] = []
        self.graves: dict[Key, dict[str, int]] = {}
        self.done: list[tuple[Callable[[], Awaitable[Any]], Any]] = []
        self._ids = itertools.count()
        self._steps = 0

    def make_house(self, shared: Shared, root: Path) -> House:
        """Open the services that are compared with the model."""
        return House(shared, root)

    def run(self, work: Awaitable[Any]) -> Any:
        return self._shared.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.every_row_has_its_bytes()
        self.run(self.house.close())
        self._directory.cleanup()

    def request(self, caller: Caller) -> RequestKey:
        number = next(self._ids)
        return RequestKey(caller.subject, f"r{number}", b"%032d" % number, now_us())

    def expect(self, expected: str, work: Callable[[], Awaitable[Any]]) -> Any:
        """Do it, compare how it ended with what the model expects, and keep what is answered to ask again."""
        reason, answer = self.tried(work())
        assert reason == expected
        if not reason:
            self.done.append((work, answer))
        return answer

    def tried(self, work: Awaitable[Any]) -> tuple[str, Any]:
        """Return the reason of the refusal, and the answer."""
        try:
            return "", self.run(work)
        except HibanaError as error:
            return error.reason, None

    def found(self, key: Key) -> Modelled | None:
        return next((m for m in self.modules if m.key == key), None)

    @property
    def deleted(self) -> list[Modelled]:
        return [module for module in self.modules if module.status is Status.DELETED]

    # ------------------------------------------------------------ uploads

    @initialize()
    def begin(self) -> None:
        for caller in (ALICE, BOB):
            self.upload(caller, Tier.USER, "a", "1", 0, publish=True)

    @rule(
        caller=callers,
        tier=st.sampled_from([Tier.USER, Tier.USER, Tier.SYSTEM]),
        name=names,
        label=labels,
        content=contents,
        publish=st.booleans(),
    )
    def upload(self, caller: Caller, tier: Tier, name: str, label: str, content: int, *, publish: bool) -> None:
        key = key_of(tier, caller.subject, name)
        module = self.found(key)
        there = module.versions.get(label) if module else None
        grave = self.graves.get(key, {}).get(label, content)
        expected = ""
        if tier is Tier.SYSTEM and not caller.is_admin:
            expected = "NOT_ALLOWED"
        elif module and module.status is Status.DELETED:
            expected = "NAME_TAKEN"
        elif (there and there[0] != content) or grave != content:
            expected = "VERSION_TAKEN"
        wanted = Upload(tier, name, label, publish=publish, request=self.request(caller))
        done = self.expect(expected, lambda: self.house.uploads.upload(caller, wanted, pieces(CONTENTS[content])))
        if done is None or there:
            assert done is None or done.existed
            return
        assert not done.existed
        if module is None:
            module = Modelled(tier, caller.subject, name, done.module.uid)
            self.modules.append(module)
        live = publish and content != UNRUNNABLE
        module.versions[label] = (content, live)
        module.live = label if live else module.live

    # ------------------------------------------------------------ changes

    def refusal(self, caller: Caller, module: Modelled, *, may: bool) -> str:
        if not module.seen_by(caller):
            return "NOT_FOUND"
        return "" if may else "NOT_ALLOWED"

    @rule(
        actor=actors,
        number=numbers,
        kind=st.sampled_from(["description", "public", "allowed", "disable", "enable"]),
        stale=st.sampled_from([False, False, False, True]),
    )
    def update(self, actor: Caller | None, number: int, kind: str, *, stale: bool) -> None:
        if not self.modules:
            return
        module = self.modules[number % len(self.modules)]
        caller = actor or module.master
        by_status = kind in {"disable", "enable"}
        expected = self.refusal(caller, module, may=module.led_by(caller) if by_status else module.owned_by(caller))
        sharing = kind in {"public", "allowed"}
        if not expected and module.status is Status.DELETED:
            expected = "MODULE_DELETED"
        elif not expected and stale:
            expected = "ETAG_MISMATCH"
        elif not expected and module.tier is Tier.SYSTEM and sharing:
            expected = "INVALID_REQUEST"
        change = {
            "description": ModuleChange(description=f"by {caller.subject}"),
            "public": ModuleChange(is_public=True),
            "allowed": ModuleChange(allowed_users=("bob",)),
            "disable": ModuleChange(status=Status.DISABLED),
            "enable": ModuleChange(status=Status.ACTIVE),
        }[kind]
        uid, key = module.uid, self.request(caller)
        etag = "stale" if stale else ""
        self.expect(
            expected, lambda: self.house.lifecycle.update(caller, f"modules/{uid}", change, etag=etag, request=key)
        )
        if expected:
            return
        module.description = f"by {caller.subject}" if kind == "description" else module.description
        module.public = module.public or kind == "public"
        module.allowed = ("bob",) if kind == "allowed" else module.allowed
        if by_status:
            module.status = Status.DISABLED if kind == "disable" else Status.ACTIVE

    @rule(actor=actors, number=numbers)
    def delete(self, actor: Caller | None, number: int) -> None:
        if not self.modules:
            return
        module = self.modules[number % len(self.modules)]
        caller = actor or module.master
        expected = self.refusal(caller, module, may=module.led_by(caller))
        uid, key = module.uid, self.request(caller)
        self.expect(expected, lambda: self.house.lifecycle.delete(caller, f"modules/{uid}", request=key))
        if not expected and module.status is not Status.DELETED:
            module.before, module.status = module.status, Status.DELETED

    @precondition(lambda self: self.deleted)
    @rule(actor=actors, number=numbers)
    def undelete(self, actor: Caller | None, number: int) -> None:
        among = self.deleted if number % 4 else self.modules
        module = among[number % len(among)]
        caller = actor or module.master
        expected = self.refusal(caller, module, may=module.led_by(caller))
        uid, key = module.uid, self.request(caller)
        self.expect(expected, lambda: self.house.lifecycle.undelete(caller, f"modules/{uid}", request=key))
        if not expected and module.status is Status.DELETED:
            module.status = module.before

    @rule(actor=actors, number=numbers, to=st.sampled_from(["alice", "bob", "carol"]))
    def transfer(self, actor: Caller | None, number: int, to: str) -> None:
        if not self.modules:
            return
        module = self.modules[number % len(self.modules)]
        caller = actor or module.master
        expected = self.refusal(caller, module, may=module.tier is Tier.USER and module.owned_by(caller))
        old, new = module.key, key_of(Tier.USER, to, module.name)
        left = {**self.graves.get(old, {}), **{label: content for label, (content, _) in module.versions.items()}}
        there = self.graves.get(new, {})
        if not expected and module.status is Status.DELETED:
            expected = "MODULE_DELETED"
        elif not expected and to != module.owner:
            clash = any(there.get(label, content) != content for label, content in left.items())
            expected = "NAME_TAKEN" if self.found(new) or clash else ""
        uid, key = module.uid, self.request(caller)
        self.expect(expected, lambda: self.house.lifecycle.transfer(caller, f"modules/{uid}", to, request=key))
        if not expected and to != module.owner:
            module.owner, module.public, module.allowed = to, False, ()
            self.graves[old] = left
            self.graves[new] = {**left, **there}

    @rule(actor=actors, number=numbers, label=labels)
    def publish(self, actor: Caller | None, number: int, label: str) -> None:
        if not self.modules:
            return
        module = self.modules[number % len(self.modules)]
        caller = actor or module.master
        expected = self.refusal(caller, module, may=module.owned_by(caller))
        version = module.versions.get(label)
        if not expected and version is None:
            expected = "NOT_FOUND"
        elif not expected and module.status is Status.DELETED:
            expected = "MODULE_DELETED"
        elif not expected and version is not None and version[0] == UNRUNNABLE:
            expected = "NOT_RUNNABLE"
        reference, key = f"modules/{module.uid}/versions/{label}", self.request(caller)
        self.expect(expected, lambda: self.house.lifecycle.publish(caller, reference, request=key))
        if not expected and version is not None:
            module.live = label
            module.versions[label] = (version[0], True)

    @rule(actor=actors, number=numbers, label=labels)
    def delete_version(self, actor: Caller | None, number: int, label: str) -> None:
        if not self.modules:
            return
        module = self.modules[number % len(self.modules)]
        caller = actor or module.master
        expected = self.refusal(caller, module, may=module.owned_by(caller))
        if not expected and label not in module.versions:
            expected = "NOT_FOUND"
        elif not expected and module.status is Status.DELETED:
            expected = "MODULE_DELETED"
        elif not expected and module.live == label:
            expected = "VERSION_LIVE"
        reference, key = f"modules/{module.uid}/versions/{label}", self.request(caller)
        self.expect(expected, lambda: self.house.lifecycle.delete_version(caller, reference, request=key))
        if not expected:
            self.graves.setdefault(module.key, {})[label] = module.versions.pop(label)[0]

    # ------------------------------------------------------------ time, crashes, repetition

    @precondition(lambda self: self.deleted)
    @rule()
    def purge(self) -> None:
        gone = self.deleted
        swept = self.run(self.house.housekeeping.sweep(now_us() + 1_001_000_000))
        assert (swept.modules, swept.requests) == (len(gone), len({id(work) for work, _ in self.done}))
        self.done = []
        for module in gone:
            left = {label: content for label, (content, _) in module.versions.items()}
            self.graves.setdefault(module.key, {}).update(left)
        self.modules = [m for m in self.modules if m.status is not Status.DELETED]
        named = {CONTENTS[content] for m in self.modules for content, _ in m.versions.values()}
        assert len(self.run(listed(self.house.blobs.digests()))) == len(named)
        self.every_row_has_its_bytes()

    @rule()
    def restart(self) -> None:
        self.run(self.house.close())
        self.house.open()

    @rule(number=st.integers(0, 50))
    def repeat(self, number: int) -> None:
        if self.done:
            work, answer = self.done[number % len(self.done)]
            assert self.run(work()) == answer

    # ------------------------------------------------------------ what must hold

    @invariant()
    def one_after_the_other_sees_what_the_model_says(self) -> None:
        self._steps += 1
        caller = CALLERS[self._steps % len(CALLERS)]
        for module in self.modules:
            expected = "" if module.seen_by(caller) else "NOT_FOUND"
            reason, seen = self.tried(self.house.registry.get(caller, f"modules/{module.uid}"))
            assert reason == expected
            assert seen is None or told(seen) == modelled(module, caller)
        status = list(Status)[self._steps // len(CALLERS) % len(Status)]
        page = self.run(self.house.registry.list_modules(caller, ModuleQuery(page_size=500, status=status)))
        expected_uids = {m.uid for m in self.modules if m.seen_by(caller) and m.status is status}
        assert {m.uid for m in page.modules} == expected_uids
        assert page.total_size == len(expected_uids)

    @invariant()
    def versions_are_what_the_model_says(self) -> None:
        if self.modules:
            module = self.modules[self._steps % len(self.modules)]
            page = self.run(self.house.store.list_versions(module.uid, published_only=False, limit=100))
            told_versions = {v.version: v.publish_time is not None for v in page.versions}
            assert told_versions == {label: published for label, (_, published) in module.versions.items()}

    def every_row_has_its_bytes(self) -> None:
        problems = self.run(listed(verify(self.house.store.upkeep, self.house.blobs)))
        assert {p.problem.kind.value for p in problems if p.problem} <= {"unnamed"}
