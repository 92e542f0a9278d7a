"""What the real service answers, against the table of rules: random callers, modules and RPCs.

A few hundred triples in every run; HIBANA_DIFFERENTIAL=10000 asks for as many, HIBANA_TORTURE=all for 10,000. A
seed is told by a failure and taken from HIBANA_DIFFERENTIAL_SEED.
"""

from __future__ import annotations

import functools
import itertools
import os
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from hibana.v1 import executor_pb2, module_pb2, module_registry_pb2
from hibana_server.domain.access import Action, Belonging, Denied, decide
from hibana_server.domain.callers import Caller
from hibana_server.domain.modules import Module, Status
from hibana_server.domain.tiers import Tier
from hibana_server.rpc.access_rules import ACCESS_RULES, About
from tests.framework.refusals import METHODS, path
from tests.framework.server import Server
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import create, guest, invoke
from tests.integration.rpc.differential import (
    CALLERS,
    DISABLED,
    FORBIDDEN,
    UNKNOWN,
    UNKNOWN_LABEL,
    YES,
    Ask,
    answered,
    expected,
)

pb = module_registry_pb2
TRIPLES = int(os.environ.get("HIBANA_DIFFERENTIAL") or (10_000 if os.environ.get("HIBANA_TORTURE") == "all" else 300))
SEED = os.environ.get("HIBANA_DIFFERENTIAL_SEED") or str(random.SystemRandom().randrange(10**9))
LIVE, DRAFT = "1", "2"
"""Versions of every module; nobody ever published the second."""
WRONG = "0123456789abcdef"
"""An etag that no module has: a change that is allowed ends there."""


@dataclass(frozen=True)
class Kind:
    """A module as it is asked for."""

    tier: Tier
    owner: str
    public: bool
    allowed: tuple[str, ...]
    status: Status

    @property
    def name(self) -> str:
        return "-".join([self.tier, self.owner, "p" if self.public else "n", *self.allowed, self.status])


KINDS = [
    Kind(Tier.USER, owner, public, allowed, status)
    for owner, public, allowed, status in itertools.product(("ann", "svc"), (False, True), ((), ("ben", "svc")), Status)
]
KINDS += [Kind(Tier.USER, "boss", False, allowed, Status.ACTIVE) for allowed in ((), ("ben", "svc"))]
KINDS += [Kind(tier, "boss", False, (), status) for tier in (Tier.SYSTEM, Tier.ADMIN) for status in Status]


@dataclass(frozen=True)
class World:
    """What is stored, and who speaks."""

    stubs: dict[str, Stubs]
    modules: dict[Kind, Module]
    records: dict[str, str]
    """Caller -> name of an execution of theirs."""


@pytest.fixture(scope="module")
async def world(server: Server) -> AsyncIterator[World]:
    """Store a module of every kind, by the RPCs that callers use, and run something for everybody."""
    stubs = {name: server.stubs(f"diff-{name}", role) for name, role in CALLERS.items()}
    modules, records = {}, {}
    for kind in KINDS:
        owner = stubs[kind.owner]
        spec = module_pb2.ModuleSpec(is_public=kind.public, allowed_users=[f"diff-{who}" for who in kind.allowed])
        tier = module_pb2.Tier.Value(f"TIER_{kind.tier.upper()}")
        more = {"module": spec} if kind.tier is Tier.USER else {}
        name = f"diff-{kind.name}"
        stored = (await create(owner, name, guest("client_numbers"), LIVE, tier=tier, **more)).module
        await create(owner, name, guest("client_numbers"), DRAFT, tier=tier, publish=False)
        if kind.status is Status.DISABLED:
            change = module_pb2.Module(name=stored.name, status=module_pb2.MODULE_STATUS_DISABLED)
            await owner.registry.UpdateModule(pb.UpdateModuleRequest(module=change))
        elif kind.status is Status.DELETED:
            await owner.registry.DeleteModule(pb.DeleteModuleRequest(module=stored.name))
        modules[kind] = Module(
            uid=stored.uid,
            tier=kind.tier,
            owner=owner.subject,
            name=name,
            status=kind.status,
            is_public=kind.public,
            allowed_users=tuple(f"diff-{who}" for who in kind.allowed),
            live_version=LIVE,
        )
    everyones = modules[Kind(Tier.SYSTEM, "boss", False, (), Status.ACTIVE)]
    for name, each in stubs.items():
        records[name] = (await invoke(each, f"system/{everyones.name}", "nothing")).execution
    yield World(stubs, modules, records)
    for each in stubs.values():
        await each.close()


@dataclass(frozen=True)
class Question:
    """One RPC that asks the rule of one action, and changes nothing whatever the answer is."""

    rpc: str
    action: Action
    ask: Ask
    versioned: bool = False
    """Whether it takes the reference of a version."""


def _question(rpc: str, action: Action, ask: Ask, *, versioned: bool = False) -> Question:
    return Question(rpc, action, ask, versioned)


def _change(**fields: Any) -> Ask:
    def ask(stubs: Stubs, name: str) -> Any:
        change = module_pb2.Module(name=name, **fields)
        return stubs.registry.UpdateModule(pb.UpdateModuleRequest(module=change, validate_only=True))

    return ask


_OPEN = functools.partial(executor_pb2.SessionOpen, fresh_instance_per_call=True)
QUESTIONS = [
    _question(
        "Session",
        Action.EXECUTE,
        lambda s, m: s.executor.Session(iter([executor_pb2.SessionRequest(open=_OPEN(module=m))])),
        versioned=True,
    ),
    _question("GetModule", Action.VIEW, lambda s, m: s.registry.GetModule(pb.GetModuleRequest(module=m))),
    _question(
        "GetModuleVersion",
        Action.VIEW,
        lambda s, m: s.registry.GetModuleVersion(pb.GetModuleVersionRequest(version=m)),
        versioned=True,
    ),
    _question(
        "ListModuleVersions",
        Action.VIEW,
        lambda s, m: s.registry.ListModuleVersions(pb.ListModuleVersionsRequest(module=m)),
    ),
    _question("TestAccess", Action.VIEW, lambda s, m: s.registry.TestAccess(pb.TestAccessRequest(module=m))),
    _question("UpdateModule", Action.EDIT, _change(description="other")),
    _question("UpdateModule", Action.DISABLE, _change(status=module_pb2.MODULE_STATUS_DISABLED)),
    _question(
        "DeleteModule",
        Action.DELETE,
        lambda s, m: s.registry.DeleteModule(pb.DeleteModuleRequest(module=m, etag=WRONG)),
    ),
    _question(
        "TransferModule",
        Action.TRANSFER,
        lambda s, m: s.registry.TransferModule(pb.TransferModuleRequest(module=m, new_owner="diff-x", etag=WRONG)),
    ),
    _question(
        "DeleteModuleVersion",
        Action.EDIT,
        lambda s, m: s.registry.DeleteModuleVersion(pb.DeleteModuleVersionRequest(version=f"{m}/versions/{LIVE}")),
    ),
    _question(
        "PublishModuleVersion",
        Action.EDIT,
        lambda s, m: s.registry.PublishModuleVersion(
            pb.PublishModuleVersionRequest(version=f"{m}/versions/{DRAFT}", etag=WRONG)
        ),
    ),
    _question(
        "DownloadModule",
        Action.INSPECT,
        lambda s, m: s.registry.DownloadModule(pb.DownloadModuleRequest(version=m)),
        versioned=True,
    ),
    _question(
        "GetModuleStats", Action.INSPECT, lambda s, m: s.registry.GetModuleStats(pb.GetModuleStatsRequest(module=m))
    ),
    _question(
        "Invoke",
        Action.EXECUTE,
        lambda s, m: s.executor.Invoke(executor_pb2.InvokeRequest(module=m, function="nothing")),
        versioned=True,
    ),
    _question(
        "Execute",
        Action.EXECUTE,
        lambda s, m: s.executor.Execute(executor_pb2.ExecuteRequest(module=m, function="nothing")),
        versioned=True,
    ),
    _question(
        "StartExecution",
        Action.EXECUTE,
        lambda s, m: s.executor.StartExecution(executor_pb2.StartExecutionRequest(module=m, function="nothing")),
        versioned=True,
    ),
    _question(
        "ListExecutions",
        Action.VIEW,
        lambda s, m: s.executor.ListExecutions(executor_pb2.ListExecutionsRequest(module=m)),
    ),
    _question(
        "GetExecutionStats",
        Action.VIEW,
        lambda s, m: s.executor.GetExecutionStats(executor_pb2.GetExecutionStatsRequest(module=m)),
    ),
]
OF_RECORDS: list[tuple[Action, Ask]] = [
    (Action.READ, lambda s, name: s.executor.GetExecution(executor_pb2.GetExecutionRequest(name=name))),
    (Action.READ, lambda s, name: s.executor.WatchExecution(executor_pb2.WatchExecutionRequest(name=name))),
    (Action.CHANGE, lambda s, name: s.executor.CancelExecution(executor_pb2.CancelExecutionRequest(name=name))),
    (Action.EXECUTE, lambda s, name: s.executor.ReplayExecution(executor_pb2.ReplayExecutionRequest(name=name))),
]
ELSEWHERE = {
    "ListModules": "tests/contract/test_module_lists.py and below",
    "CreateModule": "below",
    "UploadModule": "below: one service method serves both",
    "UndeleteModule": "tests/integration/services/test_registry_model.py, as it takes no etag that would stop it",
}


async def one(world: World, chance: random.Random) -> tuple[str, str, str]:
    """Ask one random question and return what it was, what is right and what was answered."""
    name = chance.choice(list(CALLERS))
    stubs, caller = world.stubs[name], Caller(f"diff-{name}", CALLERS[name])
    if chance.random() < 0.1:
        (action, ask), whose = chance.choice(OF_RECORDS), chance.choice(list(world.records))
        got = await answered(ask(stubs, world.records[whose]))
        return f"{name} {action} a record of {whose}", expected(caller, action, Belonging(f"diff-{whose}")), got
    kind, question = chance.choice(KINDS), chance.choice(QUESTIONS)
    module = world.modules[kind]
    published, reference = True, f"modules/{module.uid}"
    if chance.random() < 0.5:
        reference = f"user/{module.owner}/{module.name}" if kind.tier is Tier.USER else f"{kind.tier}/{module.name}"
    if question.versioned and chance.random() < 0.7:
        published = chance.random() < 0.5
        label = LIVE if published else DRAFT
        reference += f"/versions/{label}" if reference.startswith("modules/") else f"@{label}"
    elif question.rpc in {"DeleteModuleVersion", "PublishModuleVersion"}:
        reference = f"modules/{module.uid}"
    right = expected(caller, question.action, module, published=published)
    return f"{name} {question.rpc} {kind.name} {reference}", right, await answered(question.ask(stubs, reference))


@pytest.mark.timeout(3600)
async def test_random_calls_are_answered_as_the_table_says(world: World) -> None:
    chance = random.Random(SEED)
    differing = {}
    seen: dict[str, int] = {}
    for _ in range(TRIPLES):
        asked, right, got = await one(world, chance)
        seen[right] = seen.get(right, 0) + 1
        if right != got:
            differing[asked] = f"{got}, not {right}"
    assert differing == {}, f"HIBANA_DIFFERENTIAL_SEED={SEED}"
    assert set(seen) == {YES, UNKNOWN, UNKNOWN_LABEL, FORBIDDEN, DISABLED}, seen


@pytest.mark.parametrize("name", CALLERS)
async def test_access_tells_what_a_run_would_meet(world: World, name: str) -> None:
    caller = Caller(f"diff-{name}", CALLERS[name])
    for module in world.modules.values():
        if isinstance(decide(caller, Action.VIEW, module), Denied):
            continue
        request = pb.TestAccessRequest(module=f"modules/{module.uid}")
        told = await world.stubs[name].registry.TestAccess(request)
        decision = decide(caller, Action.EXECUTE, module)
        assert told.granted == (not isinstance(decision, Denied))
        if isinstance(decision, Denied):
            assert told.explanation == decision.text


@pytest.mark.parametrize("name", CALLERS)
async def test_lists_show_what_the_table_lets_one_see(world: World, name: str) -> None:
    caller = Caller(f"diff-{name}", CALLERS[name])
    for status in Status:
        right = {m.uid for m in world.modules.values() if m.status is status}
        right = {uid for uid in right if not isinstance(decide(caller, Action.VIEW, _by_uid(world, uid)), Denied)}
        number = module_pb2.ModuleStatus.Value(f"MODULE_STATUS_{status.upper()}")
        request = pb.ListModulesRequest(status=number, name_prefix="diff-", page_size=500)
        listed = await world.stubs[name].registry.ListModules(request)
        assert {m.uid for m in listed.modules} == right


def _by_uid(world: World, uid: str) -> Module:
    return next(module for module in world.modules.values() if module.uid == uid)


@pytest.mark.parametrize("name", CALLERS)
@pytest.mark.parametrize("tier", Tier)
async def test_who_may_make_modules(world: World, name: str, tier: Tier) -> None:
    caller = Caller(f"diff-{name}", CALLERS[name])
    about = replace(next(iter(world.modules.values())), tier=tier, owner=caller.subject)
    number = module_pb2.Tier.Value(f"TIER_{tier.upper()}")
    call = create(world.stubs[name], "diff-new", guest("client_numbers"), tier=number, validate_only=True)
    assert await answered(call) == expected(caller, Action.CREATE, about)


def test_every_rpc_about_modules_and_records_that_is_served_is_asked() -> None:
    asked = (
        {question.rpc for question in QUESTIONS}
        | set(ELSEWHERE)
        | {"GetExecution", "WatchExecution", "CancelExecution", "ReplayExecution"}
    )
    about = {About.MODULE, About.MODULES, About.BELONGING, About.BELONGINGS}
    known = {
        method.name
        for method in METHODS
        if ACCESS_RULES[path(method)].about in about and method.containing_service.name != "Admin"
    }
    assert known == asked
    for question in QUESTIONS:
        # TestAccess and the lists are asked for what one may see.
        (rule,) = (rule for rpc, rule in ACCESS_RULES.items() if rpc.endswith(f"/{question.rpc}"))
        assert question.action in rule.actions or question.rpc in ("ListExecutions", "GetExecutionStats")
