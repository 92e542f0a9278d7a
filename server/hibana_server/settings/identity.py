"""Settings of who callers are, and of what they may do before that is known."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

ALGORITHMS = ("RS256", "ES256", "EdDSA")


class JwtSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tokens of an identity provider, besides those that `hibana-server token` makes. The defaults fit Supabase."""

    issuers: tuple[str, ...] = ()
    """Accepted `iss`, as https://PROJECT.supabase.co/auth/v1; empty accepts no tokens but the service's own."""
    audiences: tuple[str, ...] = ("authenticated",)
    """Accepted `aud`, one of which a token has to name; empty asks for none."""
    jwks: str = ""
    """Where the provider's keys are (JWKS): https://, http:// on this machine, or a file."""
    secret_file: str = ""
    """File of the secret, where the provider signs with HS256."""
    secret: str = ""
    """The same secret, for environments that hand it over in a variable; a file is harder to leak."""
    algorithms: tuple[str, ...] = ALGORITHMS
    """Which of RS256, ES256 and EdDSA the provider's keys may be for."""
    leeway_seconds: float = 30.0
    """Seconds by which the clocks of provider and service may differ."""
    subject_claim: str = "sub"
    """Path of the claim that names the caller."""
    subject_prefix: str = ""
    """Put before every name of this provider, where names of several must not meet."""
    role_claim: str = "role"
    """Path of the claim that tells the role; a token without it is a user's. Empty makes everybody a user."""
    roles: tuple[str, ...] = ("authenticated=user", "service_role=service")
    """Its values and what they mean here, each VALUE=user, VALUE=service or VALUE=admin; others are refused."""
    admin_claim: str = "app_metadata.hibana_role"
    """Path of the claim that makes an admin; empty makes none. It must be one that users cannot write themselves."""
    admin_value: str = "admin"
    """Value of that claim that does."""

    def __repr__(self) -> str:
        """Show everything but the secret: settings come up in logs and tracebacks."""
        told = {name: getattr(self, name) for name in self.__struct_fields__}
        if self.secret:
            told |= {"secret": "..."}
        return f"JwtSection({', '.join(f'{name}={value!r}' for name, value in told.items())})"


class LimitsSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What strangers and large requests may take up."""

    connections: int = 0
    """gRPC connections at the same time, further ones are closed; 0 means half of the process's descriptors, at most
    10000."""
    request_bytes: int = 256 * 1024 * 1024
    """Bytes of large requests that are held at once; past it they are refused."""
    failures_per_minute: int = 300
    """Credentials that do not hold, by address; past it they are told to wait and no longer logged. 0 counts none."""


def rules(jwt: JwtSection, limits: LimitsSection) -> Iterator[tuple[str, bool, str]]:
    """Yield name, whether it holds, and what is accepted."""
    yield "jwt.algorithms", bool(jwt.algorithms) and set(jwt.algorithms) <= set(ALGORITHMS), f"any of {ALGORITHMS}"
    yield "jwt.leeway_seconds", 0 <= jwt.leeway_seconds <= 300, "0 to 300"
    yield "jwt.secret", not (jwt.secret and jwt.secret_file), "empty where jwt.secret_file is set"
    has_key = bool(jwt.jwks or jwt.secret or jwt.secret_file)
    yield "jwt.issuers", bool(jwt.issuers) == has_key, "set together with jwt.jwks, jwt.secret_file or jwt.secret"
    yield "jwt.issuers", "hibana" not in jwt.issuers, "other than hibana, which is this service's own"
    yield "limits.connections", 0 <= limits.connections <= 1_000_000, "0 to 1000000"
    yield "limits.request_bytes", limits.request_bytes > 0, "more than 0 bytes"
    yield "limits.failures_per_minute", 0 <= limits.failures_per_minute <= 1_000_000, "0 to 1000000"
