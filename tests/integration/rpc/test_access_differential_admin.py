"""What the Admin service answers, against the table of rules: every caller, every RPC, every subject it may be about.

Each question changes nothing that another one depends on, whatever the answer is.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from hibana.v1 import admin_pb2 as pb
from hibana_server.domain.access import UNKNOWN_KEY, UNKNOWN_SUBJECT, Action, Belonging, NewKey
from hibana_server.domain.callers import Caller, Role
from hibana_server.rpc.access_rules import ACCESS_RULES
from tests.framework.refusals import METHODS, path
from tests.framework.server import Server
from tests.framework.stubs import Stubs, connect
from tests.integration.rpc.differential import CALLERS, FORBIDDEN, UNKNOWN, YES, Ask, answered, expected
from tests.integration.rpc.keys import keys_of, make, revoke

NOT_SERVED = {"CreateGrant", "ListGrants", "DeleteGrant"}
SUBJECTS = ["", *CALLERS, "nobody"]
"""Whom a question is about; empty for the caller itself."""
BY_KEY = {"ann": Role.USER, "svc": Role.SERVICE, "boss": Role.ADMIN, "chief": Role.USER}
"""Who calls with a key as well, and in which role: the last in a lower one than its own."""
TOO_LONG = 2 * 365 * 86400
"""Seconds of a key's life that no server here allows: what is asked for ends there once the rules have granted it."""

GRANTED_BUT_TOO_LONG = "('INVALID_ARGUMENT', 'INVALID_REQUEST') ttl: "


@dataclass(frozen=True)
class World:
    """Who speaks, and an ended key of everybody."""

    stubs: dict[str, tuple[Stubs, Caller]]
    keys: dict[str, str]
    """Subject -> name of a key of theirs that was revoked."""


@pytest.fixture(scope="module")
async def world(server: Server) -> AsyncIterator[World]:
    stubs: dict[str, tuple[Stubs, Caller]] = {}
    keys = {}
    for name, role in CALLERS.items():
        own = server.stubs(subject_of(name), role)
        stubs[name] = own, Caller(own.subject, role)
        keys[own.subject] = (await make(own)).api_key.name
        await revoke(own, keys[own.subject])
        if name in BY_KEY:
            made = await make(own, role=BY_KEY[name])
            key_id = made.api_key.name.removeprefix("apiKeys/")
            machine = connect(server.address, made.secret, own.subject)
            stubs[f"{name} by key"] = machine, Caller(own.subject, BY_KEY[name], key_id)
    yield World(stubs, keys)
    for each, _ in stubs.values():
        await each.close()


def subject_of(name: str) -> str:
    return f"admin-diff-{name}" if name else ""


Said = tuple[str, Ask, str]
"""RPC, the question, and the right answer."""


def about_subject(caller: Caller, name: str) -> list[Said]:
    """Ask about somebody's quota and keys."""
    subject = subject_of(name)
    whose = subject or caller.subject
    read = expected(caller, Action.READ, Belonging(whose, UNKNOWN_SUBJECT))
    said: list[Said] = [
        ("GetQuota", lambda s, _: s.admin.GetQuota(pb.GetQuotaRequest(subject=subject)), read),
        ("ListApiKeys", lambda s, _: keys_of(s, subject=subject), read),
        (
            "UpdateQuota",
            lambda s, _: s.admin.UpdateQuota(pb.UpdateQuotaRequest(quota=pb.Quota(subject=subject, max_modules=500))),
            expected(caller, Action.OPERATE, None),
        ),
    ]
    said += [
        (
            "CreateApiKey",
            lambda s, _, role=role: make(s, subject=subject, role=role, ttl=TOO_LONG),  # type: ignore[misc]
            expected(caller, Action.CHANGE, NewKey(whose, role)),
        )
        for role in Role
    ]
    return said


def about_service(caller: Caller) -> list[Said]:
    """Ask for what only the role decides."""
    operate = expected(caller, Action.OPERATE, None)
    return [
        ("ListQuotas", lambda s, _: s.admin.ListQuotas(pb.ListQuotasRequest()), operate),
        ("ListApiKeys", lambda s, _: keys_of(s, all_subjects=True), operate),
        ("ListAuditEntries", lambda s, _: s.admin.ListAuditEntries(pb.ListAuditEntriesRequest()), operate),
    ]


def about_keys(caller: Caller, keys: dict[str, str]) -> list[Said]:
    """Ask to revoke keys that ended already: granted, it changes nothing."""
    return [
        (
            "RevokeApiKey",
            lambda s, _, name=name: revoke(s, name),  # type: ignore[misc]
            expected(caller, Action.CHANGE, Belonging(owner, UNKNOWN_KEY)),
        )
        for owner, name in keys.items()
    ]


async def test_every_question_is_answered_as_the_table_says(world: World) -> None:
    differing, asked = {}, set()
    seen: dict[str, int] = {}
    for who, (stubs, caller) in world.stubs.items():
        about = [said for name in SUBJECTS for said in about_subject(caller, name)]
        for number, (rpc, ask, right) in enumerate([*about, *about_service(caller), *about_keys(caller, world.keys)]):
            got = await answered(ask(stubs, ""))
            if rpc == "CreateApiKey" and got.startswith(GRANTED_BUT_TOO_LONG):
                got = YES
            asked.add(rpc)
            seen[right] = seen.get(right, 0) + 1
            if got != right:
                differing[f"{who} {rpc} {number}"] = f"{got}, not {right}"
    assert differing == {}
    assert set(seen) == {YES, UNKNOWN, FORBIDDEN}, seen
    of_admin = {m.name for m in METHODS if m.containing_service.name == "Admin"}
    assert asked == of_admin - NOT_SERVED


async def test_nobody_is_told_of_rights_to_what_is_not_served(world: World) -> None:
    grants = [
        lambda s: s.admin.CreateGrant(pb.CreateGrantRequest(module="user/x", grant=pb.Grant(host_function="env.log"))),
        lambda s: s.admin.ListGrants(pb.ListGrantsRequest(module="user/x")),
        lambda s: s.admin.DeleteGrant(pb.DeleteGrantRequest(name="modules/x/grants/1")),
    ]
    for (stubs, _), ask in itertools.product(world.stubs.values(), grants):
        assert (await answered(ask(stubs))).startswith("('UNIMPLEMENTED', 'NOT_IMPLEMENTED')")


async def test_nothing_was_made_by_asking(world: World) -> None:
    root, _ = world.stubs["boss"]
    for name in CALLERS:
        there = {key.name for key in await keys_of(root, subject=subject_of(name))}
        assert len(there) == 1 + (name in BY_KEY)


def test_every_rule_of_the_admin_service_is_one_that_is_asked_here() -> None:
    rules = {ACCESS_RULES[path(m)].actions for m in METHODS if m.containing_service.name == "Admin"}
    assert rules == {(Action.READ,), (Action.CHANGE,), (Action.OPERATE,), (Action.INSPECT,)}
