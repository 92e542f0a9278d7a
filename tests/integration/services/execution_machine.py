"""The machine of the registry with executions: run, start, watch, cancel, repeat, replay, crash, remove, list."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from hibana_server.domain.callers import Caller
from hibana_server.domain.executions import Outcome
from hibana_server.domain.history import Kept
from hibana_server.domain.ids import now_us, uid_from
from hibana_server.domain.modules import Status
from hibana_server.domain.requests import RequestKey
from hibana_server.domain.tiers import Tier
from hibana_server.domain.values import JsonArguments
from hibana_server.services.calls import RECORDED_BYTES, Call
from hibana_server.services.replay import differences
from hibana_server.services.requests import Answered
from hibana_server.services.retention import YOUNGEST, RecordRetention
from hibana_server.services.run import Run
from tests.integration.services.execution_model import FILTERS, LARGE, ExecutionHouse, Ran, refusal_to_run, shown
from tests.integration.services.registry_machine import RegistryMachine, actors, labels, numbers
from tests.integration.services.registry_model import CALLERS, Modelled, Shared, listed

MOST_OPEN = 3
AGE = 1000.0
FOREVER = 1e9
ENDS = {"n": Outcome.OK, "say": Outcome.OK, "trap": Outcome.TRAP}
ways = st.sampled_from(["invoke", "execute", "detached"])
picks = st.integers(0, 50)


class ExecutionMachine(RegistryMachine):
    """Does the same to the services and to the model, executions included."""

    house: ExecutionHouse

    def __init__(self, shared: Shared) -> None:
        self.ran: list[Ran] = []
        """What is in the history, oldest first."""
        self.counted: dict[str, Counter[Outcome]] = {}
        """By module; removal takes nothing from it."""
        self.forgotten: list[RequestKey] = []
        """Ids whose records were removed."""
        super().__init__(shared)

    def make_house(self, shared: Shared, root: Path) -> ExecutionHouse:
        return ExecutionHouse(shared, root)

    @property
    def open(self) -> list[Ran]:
        return [each for each in self.ran if each.outcome is None]

    def ended(self, ran: Ran, outcome: Outcome) -> None:
        ran.outcome = outcome
        self.counted.setdefault(ran.module.uid, Counter())[outcome] += 1

    def call_of(self, module: Modelled, label: str, function: str, size: int) -> Call:
        reference = f"modules/{module.uid}" + (f"/versions/{label}" if label else "")
        return Call(reference, function, JsonArguments((size,) if function == "say" else ()))

    def new_key(self, caller: Caller, *, old: bool = False) -> RequestKey:
        """Return an id that names nothing; `old`: one that named what was removed, where there is one."""
        mine = [key for key in self.forgotten if key.caller == caller.subject]
        if old and mine:
            self.forgotten.remove(mine[0])
            return mine[0]
        return self.request(caller)

    def note(self, run: Run | Answered, caller: Caller, module: Modelled, label: str, function: str, size: int) -> Ran:
        record, live = run.execution, label or module.live
        assert (record.caller, record.module_uid, record.version) == (caller.subject, module.uid, live)
        ran = Ran(record.uid, caller.subject, module, live, module.versions[live][0], function, size)
        self.ran.append(ran)
        return ran

    # ------------------------------------------------------------ calls

    @precondition(lambda self: self.modules)
    @rule(
        actor=actors,
        number=numbers,
        label=st.sampled_from(["", "", ""]) | labels,
        function=st.sampled_from(["n", "n", "say", "trap"]),
        size=st.sampled_from([5, 0, LARGE]),
        way=ways,
        with_id=st.sampled_from([None, "new", "old"]),
    )
    def call(
        self, actor: Caller | None, number: int, label: str, function: str, size: int, way: str, with_id: str | None
    ) -> None:
        """Run a function to its end."""
        module = self.modules[number % len(self.modules)]
        caller = actor or module.master
        key = None if with_id is None else self.new_key(caller, old=with_id == "old")
        call = self.call_of(module, label, function, size)
        if key is not None:
            call.request_id = key.request_id
        expected = refusal_to_run(module, caller, label)
        reason, run = self.tried(self.house.start(caller, call, way, key))
        assert reason == expected
        if expected:
            return
        assert isinstance(run, Run)
        self.run(run.wait())
        ran = self.note(run, caller, module, label, function, size)
        ran.key = key
        self.ended(ran, ENDS[function])

    @precondition(lambda self: self.modules and len(self.open) < MOST_OPEN)
    @rule(actor=actors, number=numbers, way=st.sampled_from(["execute", "detached"]), with_id=st.booleans())
    def begin_endless(self, actor: Caller | None, number: int, way: str, *, with_id: bool) -> None:
        """Start what does not end by itself."""
        module = self.modules[number % len(self.modules)]
        caller = actor or module.master
        key = self.request(caller) if with_id else None
        call = self.call_of(module, "", "spin", 0)
        if key is not None:
            call.request_id = key.request_id
        expected = refusal_to_run(module, caller, "")
        reason, run = self.tried(self.house.start(caller, call, way, key))
        assert reason == expected
        if not expected:
            self.note(run, caller, module, "", "spin", 0).key = key
            if way == "detached":
                self.run(self.house.begun(caller, run.execution.uid))

    @precondition(lambda self: any(each.key for each in self.ran))
    @rule(pick=picks, other_body=st.sampled_from([False, False, True]), way=ways)
    def again(self, pick: int, way: str, *, other_body: bool) -> None:
        """Send a call with an id once more: nothing runs, whatever became of its module."""
        among = [each for each in self.ran if each.key]
        ran = among[pick % len(among)]
        assert ran.key is not None
        key = replace(ran.key, digest=hashlib.sha256(b"other").digest()) if other_body else ran.key
        call = self.call_of(ran.module, ran.label, ran.function, ran.size)
        call.request_id = key.request_id
        reason, found = self.tried(self.house.start(ran.who, call, way, key))
        assert reason == ("REQUEST_ID_REUSED" if other_body else "")
        if other_body:
            return
        assert found.execution.uid == ran.uid
        assert isinstance(found, Run if ran.outcome is None else Answered)
        if isinstance(found, Answered):
            assert found.execution.outcome is ran.outcome

    @precondition(lambda self: self.modules)
    @rule(actor=actors, number=numbers, way=ways)
    def together(self, actor: Caller | None, number: int, way: str) -> None:
        """Send copies of one call at the same time: one runs."""
        module = self.modules[number % len(self.modules)]
        caller = actor or module.master
        key = self.request(caller)
        call = self.call_of(module, "", "n", 0)
        call.request_id = key.request_id

        async def copies() -> list[Any]:
            starts = (self.house.start(caller, replace(call), way, key) for _ in range(5))
            found = await asyncio.gather(*starts, return_exceptions=True)
            for run in found:
                if isinstance(run, Run):
                    await run.wait()
            return found

        found = self.run(copies())
        expected = refusal_to_run(module, caller, "")
        assert {getattr(each, "reason", "") for each in found} == {expected}
        if not expected:
            assert len({each.execution.uid for each in found}) == 1
            ran = self.note(found[0], caller, module, "", "n", 0)
            ran.key = key
            self.ended(ran, Outcome.OK)

    @precondition(lambda self: self.ran)
    @rule(actor=actors, pick=picks, among_open=st.booleans())
    def cancel(self, actor: Caller | None, pick: int, *, among_open: bool) -> None:
        among = self.open if among_open and self.open else self.ran
        ran = among[pick % len(among)]
        caller = actor or ran.who
        expected = "" if ran.outcome is None else "EXECUTION_ENDED"
        if not caller.is_admin and caller.subject != ran.caller:
            expected = "NOT_FOUND"
        reason, record = self.tried(self.house.executions.cancel(caller, ran.uid))
        assert reason == expected
        if not expected:
            assert record.outcome is Outcome.CANCELLED
            self.ended(ran, Outcome.CANCELLED)

    @precondition(lambda self: any(each.outcome for each in self.ran))
    @rule(pick=picks, after=st.integers(0, 4))
    def watch(self, pick: int, after: int) -> None:
        """Read the events of what has ended: numbered without holes, and from any number on the same."""
        among = [each for each in self.ran if each.outcome]
        ran = among[pick % len(among)]
        events = self.run(self.house.watch(ran.who, ran.uid, 0))
        assert [number for number, _ in events] == list(range(1, len(events) + 1))
        assert events[-1][1] is ran.outcome
        written = [told for _, told in events if isinstance(told, bytes)]
        if not any(told == "missing" for _, told in events):
            assert b"".join(written) == ran.stdout
        else:
            assert ran.stdout.startswith(b"".join(written))
            assert len(ran.stdout) > RECORDED_BYTES
        rest = self.run(self.house.watch(ran.who, ran.uid, after))
        if ran.outcome is Outcome.LOST and after >= len(events):
            assert rest == [(after + 1, Outcome.LOST)]
        else:
            assert rest == events[after:]

    @precondition(lambda self: self.ran)
    @rule(actor=actors, pick=picks)
    def replay(self, actor: Caller | None, pick: int) -> None:
        ran = self.ran[pick % len(self.ran)]
        caller = actor or ran.who
        module = ran.module
        if ran.function == "spin" and ran.outcome is not None:
            return  # it would not end this time either
        if not caller.is_admin and caller.subject != ran.caller:
            expected = "NOT_FOUND"
        elif caller.subject != ran.caller:
            expected = "NOT_ALLOWED"
        elif ran.outcome is None:
            expected = "EXECUTION_OPEN"
        elif module not in self.modules:
            expected = "NOT_FOUND"
        else:
            expected = refusal_to_run(module, caller, ran.label)
        started = self.house.replay.start(caller, ran.uid, "", deadline=None, trace_id="")
        reason, pair = self.tried(started)
        assert reason == expected
        if expected:
            return
        record, run = pair
        self.run(run.wait())
        content = module.versions[ran.label][0]
        new = Ran(run.execution.uid, caller.subject, module, ran.label, content, ran.function, ran.size)
        self.ran.append(new)
        self.ended(new, ENDS[ran.function])
        same = content == ran.content and ran.outcome is new.outcome
        assert (differences(record, run.execution) == []) == same
        assert run.execution.replay_of == ran.uid

    # ------------------------------------------------------------ crashes, restarts, removal

    @rule(number=numbers, way=ways, unread=st.integers(0, 4), endless=st.booleans())
    def crash(self, number: int, way: str, unread: int, *, endless: bool) -> None:
        """Die right after some calls: what nobody has read since is in the journal and not in the database."""
        if self.modules:
            if endless and len(self.open) < MOST_OPEN:
                self.begin_endless(None, number, "execute", with_id=bool(unread % 2))
            for each in range(unread):
                with_id = "new" if each % 2 else None
                self.call(None, number + each, "", "say" if each % 3 else "n", 5, way, with_id)
        self.run(self.house.crash())
        self.house.open()
        assert self.house.lost == len(self.open)
        for ran in self.open:
            self.ended(ran, Outcome.LOST)

    @rule()
    def restart(self) -> None:
        super().restart()
        assert self.house.lost == 0
        for ran in self.open:
            self.ended(ran, Outcome.CANCELLED)

    @rule()
    def renew(self) -> None:
        """Look for records that nobody runs: there are none."""
        assert self.run(self.house.open_records.round()) == 0

    def removed(self, gone: list[Ran]) -> None:
        self.ran = [each for each in self.ran if each not in gone]
        self.forgotten += [each.key for each in gone if each.key is not None]
        for each in gone[:3]:
            reason, _ = self.tried(self.house.executions.get(each.who, each.uid))
            assert reason == "NOT_FOUND"

    @precondition(lambda self: len(self.ran) > 2)
    @rule(pick=picks, tier=st.sampled_from([Tier.USER, Tier.SYSTEM]))
    def remove_old(self, pick: int, tier: Tier) -> None:
        """Remove what is older than some execution."""
        at = self.run(self.house.records.get(self.ran[pick % len(self.ran)].uid)).create_time + int(AGE * 1e6)
        kept = dict.fromkeys(Tier, Kept(FOREVER, 0)) | {tier: Kept(AGE, 0)}
        before = uid_from(at - int(AGE * 1e6))
        gone = [each for each in self.ran if each.outcome and each.module.tier is tier and each.uid < before]
        assert self.run(RecordRetention(self.house.records, kept).sweep(at)) == len(gone)
        self.removed(gone)

    @precondition(lambda self: len(self.ran) > 2)
    @rule(share=st.floats(0.1, 1.1), tier=st.sampled_from([Tier.USER, Tier.USER, Tier.SYSTEM]))
    def remove_what_is_too_much(self, share: float, tier: Tier) -> None:
        """Keep a share of the bytes that a tier takes."""
        sizes = self.run(self.house.records.record_bytes())
        done = [each for each in self.ran if each.outcome and each.module.tier is tier]
        taken: dict[str, int] = {each.uid: self.run(self.house.kept_bytes(each.uid)) for each in done}

        def total(some: list[Ran]) -> int:
            beside = {each.content: len(each.stdout) for each in some if len(each.stdout) > RECORDED_BYTES}
            return sum(taken[each.uid] for each in some) + sum(beside.values())

        assert sizes.get(tier.value, 0) == total(done)
        bound = max(int(sizes.get(tier.value, 0) * share), 1)
        kept = dict.fromkeys(Tier, Kept(FOREVER, 0)) | {tier: Kept(FOREVER, bound)}
        gone: list[Ran] = []
        while total(done[len(gone) :]) > bound:
            gone.append(done[len(gone)])
        at = now_us() + int((YOUNGEST + 1) * 1e6)
        assert self.run(RecordRetention(self.house.records, kept).sweep(at)) == len(gone)
        self.removed(gone)

    @rule()
    def collect(self) -> None:
        """Remove what no record names: what is left are the large outputs of the history, each once."""
        self.run(self.house.unnamed.collect())
        named = {hashlib.sha256(each.stdout).hexdigest() for each in self.ran if len(each.stdout) > RECORDED_BYTES}
        assert set(self.run(listed(self.house.payload_blobs.digests()))) == named

    # ------------------------------------------------------------ what must hold

    @invariant()
    def what_was_taken_away_runs_no_more(self) -> None:
        self.run(self.house.revoke())
        for ran in self.open:
            if ran.module not in self.modules or ran.module.status is not Status.ACTIVE:
                found = self.house.executions.find(ran.uid)
                if found is not None:
                    self.run(found.wait())
                self.ended(ran, Outcome.CANCELLED)
        assert self.house.executions.running == len(self.open)

    @invariant()
    def lists_show_the_history(self) -> None:
        caller = CALLERS[self._steps % len(CALLERS)]
        where = FILTERS[self._steps % len(FILTERS)]
        expected = [each.uid for each in self.ran[::-1] if shown(each, caller, where)]
        found: list[str] = []
        token, total = "", 0
        while True:
            page = self.run(
                self.house.history.list_executions(
                    caller, where, "", page_size=7, page_token=token, whole=bool(self._steps % 2)
                )
            )
            found += [each.uid for each in page.executions]
            token, total = page.next_page_token, page.total_size
            if not token:
                break
        assert found == expected
        assert total == len(expected)
        assert not page.total_is_minimum

    @invariant()
    def records_tell_what_came_out(self) -> None:
        if not self.ran:
            return
        ran = self.ran[self._steps * 7 % len(self.ran)]
        record = self.run(self.house.executions.get(ran.who, ran.uid))
        assert (record.outcome, record.function, record.version) == (ran.outcome, ran.function, ran.label)
        if ran.outcome is Outcome.OK:
            whole = self.run(self.house.executions.payloads.whole(record))
            assert (whole.output.results_json, whole.output.stdout) == (ran.results, ran.stdout)
        reason, _ = self.tried(self.house.executions.get(Caller("mallory", ran.who.role), ran.uid))
        assert reason == "NOT_FOUND"

    @invariant()
    def numbers_count_everything_that_ended(self) -> None:
        if self.modules:
            uid = self.modules[self._steps % len(self.modules)].uid
            counted = self.counted.get(uid, Counter())
            assert self.run(self.house.records.numbers(uid)).outcomes == {o: n for o, n in counted.items() if n}
