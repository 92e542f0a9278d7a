"""What `app` needs to tell who calls: the sources of callers that the settings name."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hibana_server.app_tasks import end_task
from hibana_server.auth.claims import ClaimRules, check_path
from hibana_server.auth.failures import FailureLimit
from hibana_server.auth.issuer import Issuer, IssuerRules, check_secret
from hibana_server.auth.jwks import Jwks
from hibana_server.auth.peers import Peers, read_rule
from hibana_server.auth.sources import TokenSource
from hibana_server.auth.tokens import TokenVerifier
from hibana_server.domain.callers import Role
from hibana_server.domain.errors import Invalid
from hibana_server.rpc.entrance import Entrance
from hibana_server.rpc.request_budget import RequestBudget
from hibana_server.settings.identity import JwtSection
from hibana_server.settings.model import Settings, TlsSection

_MOST_CONNECTIONS = 10_000


@asynccontextmanager
async def opened(settings: Settings, own_key: bytes, *sources: TokenSource) -> AsyncIterator[Entrance]:
    """Make what stands at the door, and keep the provider's keys fresh.

    `sources` judge tokens before the provider that the settings name. Raises Invalid.
    """
    verifier, jwks = token_verifier(own_key, settings.jwt, *sources)
    limits = settings.limits
    watching = asyncio.create_task(jwks.watch()) if jwks is not None else None
    try:
        yield Entrance(
            verifier,
            peers(settings.tls),
            bool(settings.tls.client_ca),
            FailureLimit(limits.failures_per_minute),
            RequestBudget(limits.request_bytes),
            limits.connections or most_connections(),
        )
    finally:
        if watching is not None:
            await end_task(watching)


def most_connections() -> int:
    """Return how many connections leave descriptors for everything else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else max(1, min(soft // 2, _MOST_CONNECTIONS))


def token_verifier(own_key: bytes, jwt: JwtSection, *sources: TokenSource) -> tuple[TokenVerifier, Jwks | None]:
    """Make who verifies tokens, and the keys that have to be kept fresh meanwhile. Raises Invalid."""
    if not jwt.issuers:
        return TokenVerifier(own_key, *sources), None
    verifier: TokenVerifier | None = None

    def keys_changed() -> None:
        if verifier is not None:
            verifier.forget()

    jwks = Jwks(jwt.jwks, jwt.algorithms, keys_changed) if jwt.jwks else None
    issuer = Issuer(issuer_rules(jwt), secret=shared_secret(jwt), jwks=jwks)
    verifier = TokenVerifier(own_key, *sources, issuer)
    return verifier, jwks


def issuer_rules(jwt: JwtSection) -> IssuerRules:
    """Read what a token of the provider has to say. Raises Invalid that names the setting."""
    paths = {"subject_claim": jwt.subject_claim, "role_claim": jwt.role_claim, "admin_claim": jwt.admin_claim}
    for name, path in paths.items():
        try:
            if path or name == "subject_claim":
                check_path(path)
        except ValueError as error:
            raise Invalid(f"settings: jwt.{name}: {error}") from None
    claims = ClaimRules(
        subject=jwt.subject_claim,
        subject_prefix=jwt.subject_prefix,
        role=jwt.role_claim,
        roles=dict(_role(text) for text in jwt.roles),
        admin=jwt.admin_claim,
        admin_value=jwt.admin_value,
    )
    return IssuerRules(jwt.issuers, jwt.audiences, jwt.leeway_seconds, claims)


def shared_secret(jwt: JwtSection) -> bytes | None:
    """Return the provider's secret, where it has one. Raises Invalid, which never repeats it."""
    name, secret = "secret", jwt.secret.encode()
    if jwt.secret_file:
        name = "secret_file"
        try:
            secret = Path(jwt.secret_file).read_bytes().strip()
        except OSError as error:
            raise Invalid(f"settings: jwt.secret_file: cannot read {jwt.secret_file}: {error.strerror}") from None
    if not secret and name == "secret":
        return None
    try:
        return check_secret(secret)
    except ValueError as error:
        raise Invalid(f"settings: jwt.{name}: {error}") from None


def peers(tls: TlsSection) -> Peers:
    """Read which certificates stand for which callers. Raises Invalid."""
    if tls.peers and not tls.client_ca:
        raise Invalid("settings: tls.peers needs tls.client_ca: without it nobody shows a certificate")
    try:
        return Peers(map(read_rule, tls.peers))
    except ValueError as error:
        raise Invalid(f"settings: tls.peers: {error}") from None


def _role(text: str) -> tuple[str, Role]:
    value, equals, role = text.rpartition("=")
    if not value or not equals or role not in set(Role):
        raise Invalid(f"settings: jwt.roles: {text!r} is none of VALUE=user, VALUE=service, VALUE=admin")
    return value, Role(role)
