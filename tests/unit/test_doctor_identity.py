"""The doctor's look at who may call: settings that can hold, and keys that are there when it is asked to fetch them."""

from __future__ import annotations

from pathlib import Path

import pytest

from hibana_server.doctor.check import State
from hibana_server.doctor.identity import examine_identity, examine_provider
from hibana_server.settings.model import PREFIX, load
from tests.framework.provider import ISSUER, SigningKey, key_set

SECRET = "a secret of thirty-two bytes or more"


def judged(examine: object, **variables: str) -> dict[str, State]:
    assert callable(examine)
    settings = load(None, {PREFIX + name: value for name, value in variables.items()})
    checks = list(examine(settings))
    assert all(SECRET not in check.detail for check in checks)
    return {check.name: check.state for check in checks}


def test_nothing_is_judged_where_nothing_is_set() -> None:
    assert judged(examine_identity) == judged(examine_provider) == {}


def test_settings_that_can_hold() -> None:
    found = judged(
        examine_identity,
        JWT_ISSUERS=ISSUER,
        JWT_JWKS="https://project.example/keys",
        JWT_SECRET=SECRET,
        TLS_CLIENT_CA="ca.pem",
        TLS_PEERS="spiffe://mesh/web=service:web",
    )
    assert found == dict.fromkeys(("settings peers", "jwt claims", "jwt secret", "jwt keys"), State.OK)


@pytest.mark.parametrize(
    ("title", "variables"),
    [
        ("settings peers", {"TLS_PEERS": "web", "TLS_CLIENT_CA": "ca.pem"}),
        ("jwt claims", {"JWT_ISSUERS": ISSUER, "JWT_JWKS": "k", "JWT_ROLE_CLAIM": "user_metadata.role"}),
        ("jwt secret", {"JWT_ISSUERS": ISSUER, "JWT_SECRET": "short"}),
        ("jwt secret", {"JWT_ISSUERS": ISSUER, "JWT_SECRET_FILE": "/nowhere/secret"}),
        ("jwt keys", {"JWT_ISSUERS": ISSUER, "JWT_JWKS": "http://project.example/keys"}),
    ],
)
def test_settings_that_cannot_hold(title: str, variables: dict[str, str]) -> None:
    assert judged(examine_identity, **variables)[title] is State.FAIL


def test_keys_are_fetched_when_that_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    where = {"JWT_ISSUERS": ISSUER, "JWT_JWKS": str(file)}
    assert judged(examine_provider, **where) == {"jwt keys fetched": State.FAIL}
    file.write_bytes(b'{"keys": []}')
    assert judged(examine_provider, **where) == {"jwt keys fetched": State.FAIL}
    file.write_bytes(key_set(SigningKey("ES256", "one")))
    assert judged(examine_provider, **where) == {"jwt keys fetched": State.OK}
