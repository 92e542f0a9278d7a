"""Certificates stand for the callers that the settings list, and for nobody else."""

from __future__ import annotations

import pytest

from hibana_server.auth.peers import Peers, read_rule
from hibana_server.domain.callers import Caller, Role
from hibana_server.domain.errors import Unauthenticated


@pytest.mark.parametrize(
    ("rules", "names", "caller"),
    [
        (["spiffe://mesh/web=service:web"], ["spiffe://mesh/web"], Caller("web", Role.SERVICE)),
        (["spiffe://mesh/*=service:mesh/*"], ["spiffe://mesh/ns/a"], Caller("mesh/ns/a", Role.SERVICE)),
        (["ops.example=admin:ops"], ["other.example", "ops.example"], Caller("ops", Role.ADMIN)),
        (["a=user:first", "*=user:any"], ["a"], Caller("first", Role.USER)),
        (["a=b=user:x:y"], ["a=b"], Caller("x:y", Role.USER)),
    ],
)
def test_the_first_rule_that_fits_decides(rules: list[str], names: list[str], caller: Caller) -> None:
    assert Peers(map(read_rule, rules)).caller(names) == caller


@pytest.mark.parametrize("name", ["", "spiffe://mesh/", "spiffe://mesh", "spiffe://other/web", "SPIFFE://MESH/WEB"])
def test_another_name_is_nobody(name: str) -> None:
    with pytest.raises(Unauthenticated):
        Peers([read_rule("spiffe://mesh/*=service:*")]).caller([name])


def test_a_name_cannot_smuggle_what_no_subject_holds() -> None:
    with pytest.raises(Unauthenticated):
        Peers([read_rule("spiffe://mesh/*=service:*")]).caller(["spiffe://mesh/a\nb"])
    with pytest.raises(Unauthenticated):
        Peers([read_rule("*=service:*")]).caller(["x" * 300])


@pytest.mark.parametrize("text", ["", "a", "a=", "a=user", "a=user:", "=user:x", "a=root:x", "a*b=user:x", "a=user:*"])
def test_what_is_no_rule(text: str) -> None:
    with pytest.raises(ValueError, match=r"NAME|name"):
        read_rule(text)
