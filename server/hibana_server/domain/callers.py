"""Who calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from hibana_server.domain.words import Word


class Role(Word):
    """Tier of a caller. Comes from verified credentials only, never from a request."""

    USER = "user"
    ADMIN = "admin"
    SERVICE = "service"

    @property
    def rank(self) -> int:
        """Place among the roles: a service has a user's rights and other quotas, an admin has all."""
        return _RANKS.index(self)


_RANKS = (Role.USER, Role.SERVICE, Role.ADMIN)


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller. A `service` caller has a user's rights under its own subject."""

    subject: str
    role: Role
    key: str = field(default="", compare=False)
    """Id of the API key it came with; empty for other credentials. Who calls is the same with and without one."""

    def __hash__(self) -> int:
        """Hash the subject alone: text keeps its hash, and few subjects call with two roles."""
        return hash(self.subject)

    @property
    def is_admin(self) -> bool:
        """Tell whether the caller's credentials carry the admin role."""
        return self.role is Role.ADMIN


class Credentials(Protocol):
    """What a caller came with, for whoever serves it for longer than one request."""

    def known(self) -> float | None:
        """Return until when they hold, seconds since 1970, at next to no cost; None where only `check` can tell."""

    async def check(self) -> float:
        """Judge them anew and return until when they hold. Raises Unauthenticated, and Unavailable."""
