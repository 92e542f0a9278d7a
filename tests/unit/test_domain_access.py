"""The rules of access, over every combination, against the sentences of the concept spelled one by one.

Tier of the caller x tier of the module x ownership x public x allow-list x status x published x action.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import pytest

from hibana_server.domain.access import UNKNOWN_VERSION, Action, Belonging, Denied, Granted, decide, refusal, unknown
from hibana_server.domain.callers import Caller, Role
from hibana_server.domain.errors import FailedPrecondition, NotFound, PermissionDenied
from hibana_server.domain.modules import Module, Status
from hibana_server.domain.tiers import Tier

UNKNOWN = "unknown"
UNKNOWN_LABEL = "unknown version"
FORBIDDEN = "forbidden"
DISABLED = "disabled"
YES = "yes"


@dataclass(frozen=True)
class Case:
    role: Role
    tier: Tier
    owns: bool
    public: bool
    listed: bool
    status: Status
    published: bool

    @property
    def caller(self) -> Caller:
        return Caller("me", self.role)

    @property
    def module(self) -> Module:
        return Module(
            uid="u",
            tier=self.tier,
            owner="me" if self.owns else "other",
            name="m",
            status=self.status,
            is_public=self.public,
            allowed_users=("someone", "me") if self.listed else ("someone",),
        )

    def __str__(self) -> str:
        flags = [name for name in ("owns", "public", "listed", "published") if getattr(self, name)]
        return "-".join([self.role, self.tier, self.status, *flags])


CASES = [
    Case(role, tier, owns, public, listed, status, published)
    for role, tier, status in itertools.product(Role, Tier, Status)
    for owns, public, listed, published in itertools.product((False, True), repeat=4)
]
OF_MODULES = [action for action in Action if action not in {Action.READ, Action.CHANGE, Action.OPERATE}]


def may_run(case: Case) -> bool:
    """Tell who may execute while a module is active: the column "execute" of the table of tiers."""
    return {
        Tier.SYSTEM: True,  # every authenticated caller
        Tier.ADMIN: case.role is Role.ADMIN,  # admin
        Tier.USER: case.owns or case.listed or case.public,  # owner, allow-listed users, everyone if public
    }[case.tier]


def owner_or_admin(case: Case) -> bool:
    """Tell who is in charge. System and admin modules belong to the admins, whoever made them."""
    return case.role is Role.ADMIN or (case.tier is Tier.USER and case.owns)


def exists_for(case: Case) -> bool:
    """Tell who may know of the module: those who may execute it, while it is active; owner and admins always."""
    return owner_or_admin(case) or (may_run(case) and case.status is Status.ACTIVE)


def expected(case: Case, action: Action) -> str:
    """Spell the rules without looking at the code under test."""
    if action is Action.CREATE:
        # "Create: admin | admin | any caller", each in their own name.
        return YES if case.owns and (case.tier is Tier.USER or case.role is Role.ADMIN) else FORBIDDEN
    if not exists_for(case):
        return UNKNOWN
    if action in {Action.VIEW, Action.EXECUTE} and not case.published and not owner_or_admin(case):
        return UNKNOWN_LABEL  # "Unpublished versions: owner and admins."
    return expected_of_visible(case, action)


def expected_of_visible(case: Case, action: Action) -> str:
    if action is Action.VIEW:
        return YES
    if action is Action.EXECUTE:
        # "Owner and admins see it and get FAILED_PRECONDITION on run."
        active = YES if may_run(case) else FORBIDDEN
        return {Status.ACTIVE: active, Status.DISABLED: DISABLED, Status.DELETED: UNKNOWN}[case.status]
    if action in {Action.INSPECT, Action.DISABLE, Action.DELETE}:
        # "Admins see, disable and delete every module."
        return YES if owner_or_admin(case) else FORBIDDEN
    if action is Action.TRANSFER:
        # "Gives a user module to another owner": its owner's right alone.
        return YES if case.tier is Tier.USER and case.owns else FORBIDDEN
    assert action is Action.EDIT
    # "Admins edit only system and admin ones."
    may_edit = case.owns if case.tier is Tier.USER else case.role is Role.ADMIN
    return YES if may_edit else FORBIDDEN


def decided(case: Case, action: Action) -> str:
    decision = decide(case.caller, action, case.module, published=case.published)
    if isinstance(decision, Granted):
        return YES
    error = refusal(decision)
    if error.message == UNKNOWN_VERSION:
        return UNKNOWN_LABEL
    kinds = {NotFound: UNKNOWN, PermissionDenied: FORBIDDEN, FailedPrecondition: DISABLED}
    return kinds[type(error)]


@pytest.mark.parametrize("action", OF_MODULES, ids=lambda action: action.value)
def test_every_combination_is_decided_as_the_concept_says(action: Action) -> None:
    differing = {
        str(case): (decided(case, action), expected(case, action))
        for case in CASES
        if decided(case, action) != expected(case, action)
    }
    assert len(CASES) == 3 * 3 * 3 * 2**4
    assert differing == {}


@pytest.mark.parametrize("action", OF_MODULES, ids=lambda action: action.value)
def test_a_service_has_the_rights_of_a_user(action: Action) -> None:
    for case in CASES:
        if case.role is Role.SERVICE:
            as_user = Case(Role.USER, case.tier, case.owns, case.public, case.listed, case.status, case.published)
            assert decided(case, action) == decided(as_user, action), str(case)


def test_a_refusal_of_an_invisible_module_tells_nothing_about_it() -> None:
    refusals = {
        str(refusal(decision))
        for case in CASES
        for action in OF_MODULES
        if isinstance(decision := decide(case.caller, action, case.module), Denied) and not decision.visible
    }
    assert refusals == {str(unknown())}


def test_a_disabled_module_has_a_reason_of_its_own() -> None:
    module = Module(uid="u", tier=Tier.USER, owner="me", name="m", status=Status.DISABLED)
    decision = decide(Caller("me", Role.USER), Action.EXECUTE, module)
    assert isinstance(decision, Denied)
    assert refusal(decision).reason == "MODULE_DISABLED"


def test_the_allow_list_names_whole_subjects() -> None:
    module = Module(uid="u", tier=Tier.USER, owner="other", name="m", allowed_users=("alice@example",))
    for subject in ("alice", "alice@example.org", "ALICE@example", "", "alice@example "):
        decision = decide(Caller(subject, Role.USER), Action.VIEW, module)
        assert isinstance(decision, Denied)
        assert not decision.visible


@pytest.mark.parametrize("action", Action, ids=lambda action: action.value)
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("owns", [False, True])
def test_what_belongs_to_a_caller_is_the_callers_and_the_admins(role: Role, owns: bool, action: Action) -> None:
    decision = decide(Caller("me", role), action, Belonging("me" if owns else "other"))
    # What somebody ran is run again by nobody else: it would be their input, and others' rights.
    if (action in {Action.READ, Action.CHANGE} and (owns or role is Role.ADMIN)) or (action is Action.EXECUTE and owns):
        assert isinstance(decision, Granted)
    else:
        assert isinstance(decision, Denied)
        told = PermissionDenied if (action, role) == (Action.EXECUTE, Role.ADMIN) else NotFound
        assert isinstance(refusal(decision), told)


@pytest.mark.parametrize("action", Action, ids=lambda action: action.value)
@pytest.mark.parametrize("role", Role)
def test_the_service_as_a_whole_is_for_admins(role: Role, action: Action) -> None:
    decision = decide(Caller("me", role), action)
    if action is Action.OPERATE and role is Role.ADMIN:
        assert isinstance(decision, Granted)
    else:
        assert isinstance(decision, Denied)
        assert isinstance(refusal(decision), PermissionDenied)


@pytest.mark.parametrize("action", [Action.READ, Action.CHANGE, Action.OPERATE], ids=lambda action: action.value)
def test_nothing_else_is_done_to_a_module(action: Action) -> None:
    granted = [case for case in CASES if isinstance(decide(case.caller, action, case.module), Granted)]
    assert granted == []


@pytest.mark.parametrize(
    ("change", "subject", "role", "told"),
    [
        ({}, "root", Role.ADMIN, "ask the owner, bob, to share it: hibana modules share modules/u --with root"),
        ({"status": Status.DISABLED}, "bob", Role.USER, "its owner bob or an admin can enable it"),
        ({"status": Status.DELETED}, "bob", Role.USER, "can bring it back: hibana modules undelete modules/u"),
        ({"status": Status.DISABLED, "tier": Tier.SYSTEM}, "root", Role.ADMIN, "an admin can enable it"),
    ],
)
def test_a_denied_run_tells_who_would_have_to_do_what(
    change: dict[str, object], subject: str, role: Role, told: str
) -> None:
    module = replace(Module(uid="u", tier=Tier.USER, owner="bob", name="m"), **change)  # type: ignore[arg-type]
    decision = decide(Caller(subject, role), Action.EXECUTE, module)
    assert isinstance(decision, Denied)
    assert told in decision.text


def test_a_refused_creation_says_what_to_do() -> None:
    module = Module(uid="", tier=Tier.SYSTEM, owner="me", name="m")
    decision = decide(Caller("me", Role.USER), Action.CREATE, module)
    assert isinstance(decision, Denied)
    assert decision.text.startswith("system modules are made by admins")
    assert decision.visible
