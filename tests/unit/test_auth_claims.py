"""Which claims make whom: Supabase's by default, paths as configured, and never what users write themselves."""

from __future__ import annotations

from typing import Any

import pytest

from hibana_server.auth.claims import ClaimRules, check_path
from hibana_server.domain.callers import Caller, Role
from hibana_server.domain.errors import Unauthenticated

SUPABASE = ClaimRules()


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({}, Role.USER),
        ({"role": "authenticated"}, Role.USER),
        ({"role": "service_role"}, Role.SERVICE),
        ({"role": "authenticated", "app_metadata": {"hibana_role": "admin"}}, Role.ADMIN),
        ({"role": "authenticated", "app_metadata": {"hibana_role": "Admin"}}, Role.USER),
        ({"role": "authenticated", "app_metadata": {"hibana_role": ["admin"]}}, Role.USER),
        ({"role": "authenticated", "app_metadata": "admin"}, Role.USER),
        ({"role": "authenticated", "app_metadata": None}, Role.USER),
        ({"role": "authenticated", "user_metadata": {"hibana_role": "admin", "role": "admin"}}, Role.USER),
        ({"role": "authenticated", "app_metadata.hibana_role": "admin"}, Role.USER),
        ({"role": "authenticated", "hibana_role": "admin", "is_admin": True}, Role.USER),
    ],
)
def test_roles_of_supabase(claims: dict[str, Any], role: Role) -> None:
    assert SUPABASE.caller({"sub": "alice", **claims}) == Caller("alice", role)


@pytest.mark.parametrize("told", ["anon", "admin", "supabase_admin", "", 1, ["authenticated"], {"a": 1}, True])
def test_a_role_that_nobody_mapped_is_refused(told: object) -> None:
    with pytest.raises(Unauthenticated) as caught:
        SUPABASE.caller({"sub": "alice", "role": told})
    assert caught.value.reason == "TOKEN_INVALID"


def test_the_key_of_a_machine_that_names_nobody_is_one_caller() -> None:
    assert SUPABASE.caller({"role": "service_role"}) == Caller("service_role", Role.SERVICE)


@pytest.mark.parametrize("subject", [None, "", 7, "x" * 257, "a\nb", ["alice"], {"sub": "alice"}])
def test_a_user_has_a_proper_name(subject: object) -> None:
    with pytest.raises(Unauthenticated):
        SUPABASE.caller({"sub": subject, "role": "authenticated"})


def test_an_operator_may_say_otherwise() -> None:
    rules = ClaimRules(
        subject="profile.mail", subject_prefix="corp:", role="groups.first", roles={"staff": Role.ADMIN}, admin=""
    )
    claims = {"sub": "x", "profile": {"mail": "a@b"}, "groups": {"first": "staff"}}
    assert rules.caller(claims) == Caller("corp:a@b", Role.ADMIN)
    everybody = ClaimRules(role="", admin="")
    assert everybody.caller({"sub": "alice", "role": "service_role"}).role is Role.USER


@pytest.mark.parametrize("path", ["", ".", "a..b", "user_metadata", "user_metadata.role", "a.user_metadata", "a." * 9])
def test_no_path_leads_to_what_users_write_themselves(path: str) -> None:
    with pytest.raises(ValueError, match=r"claim|user_metadata"):
        check_path(path)
