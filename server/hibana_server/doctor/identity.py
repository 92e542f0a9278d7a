"""The identity provider that the settings name: whether its secret or keys are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hibana_server.app_identity import issuer_rules, peers, shared_secret
from hibana_server.auth.jwks import check_source, fetch
from hibana_server.auth.key_set import read_key_set
from hibana_server.doctor.check import Check, State
from hibana_server.domain.errors import HibanaError
from hibana_server.settings.model import Settings


def examine_identity(settings: Settings) -> Iterator[Check]:
    """Judge what can be judged without asking anybody."""
    jwt = settings.jwt
    if settings.tls.peers:
        yield _judged("settings peers", "every rule can be read", lambda: peers(settings.tls))
    if not jwt.issuers:
        return
    yield _judged("jwt claims", f"tokens of {', '.join(jwt.issuers)}", lambda: issuer_rules(jwt))
    if jwt.secret or jwt.secret_file:
        yield _judged("jwt secret", "it can be read and is long enough", lambda: shared_secret(jwt))
    if jwt.jwks:
        yield _judged("jwt keys", f"from {jwt.jwks}; --verify fetches them", lambda: check_source(jwt.jwks))


def examine_provider(settings: Settings) -> Iterator[Check]:
    """Fetch the provider's keys."""
    jwt = settings.jwt
    if jwt.issuers and jwt.jwks:
        source, algorithms = jwt.jwks, jwt.algorithms
        yield _judged("jwt keys fetched", source, lambda: read_key_set(fetch(check_source(source)), algorithms))


def _judged(name: str, good: str, judge: Callable[[], object]) -> Check:
    try:
        judge()
    except HibanaError as error:
        return Check(
            name, State.FAIL, error.message, "Mend the section [jwt] or tls.peers; docs/security.md shows how."
        )
    return Check(name, State.OK, good)
