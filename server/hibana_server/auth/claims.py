"""From the claims of a token that somebody else signed to a caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hibana_server.domain.callers import Caller, Role
from hibana_server.domain.errors import Unauthenticated
from hibana_server.domain.references import MAX_SUBJECT_BYTES

FORBIDDEN = "user_metadata"
"""What users of Supabase write themselves; nobody is anybody for that."""
MAX_CLAIM_DEPTH = 8


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """Which claims tell who somebody is. Paths have points between their steps: `app_metadata.role`."""

    subject: str = "sub"
    """Path of the claim that names the caller."""
    subject_prefix: str = ""
    """Put before each name, where the names of several issuers must not meet."""
    role: str = "role"
    """Path of the claim that tells the role; a token without it is a user's."""
    roles: Mapping[str, Role] = field(
        default_factory=lambda: {"authenticated": Role.USER, "service_role": Role.SERVICE, "user": Role.USER}
    )
    """Values of that claim and what they mean here; a token with another is refused."""
    admin: str = "app_metadata.hibana_role"
    """Path of the claim that makes an admin; empty makes none."""
    admin_value: str = "admin"
    """Value of that claim that does."""

    def caller(self, claims: Mapping[str, object]) -> Caller:
        """Return who these verified claims stand for. Raises Unauthenticated."""
        role = self._role(claims)
        if self.admin and _at(claims, self.admin) == self.admin_value:
            role = Role.ADMIN
        subject = _at(claims, self.subject)
        if subject is None and role is not Role.USER:
            # Keys of machines name nobody: all who hold one are the same caller.
            subject = _at(claims, self.role)
        return Caller(proper_subject(subject, self.subject_prefix), role)

    def _role(self, claims: Mapping[str, object]) -> Role:
        told = _at(claims, self.role) if self.role else None
        if told is None:
            return Role.USER
        role = self.roles.get(told) if isinstance(told, str) else None
        if role is None:
            raise Unauthenticated(f"the token's role ({self.role}) is none that this service accepts")
        return role


def check_path(path: str) -> str:
    """Return a path of a claim. Raises ValueError for one that is none, or leads to what users write themselves."""
    steps = path.split(".")
    if not all(steps) or len(steps) > MAX_CLAIM_DEPTH:
        raise ValueError(f"{path!r} is no path of a claim; write names with points between them")
    if FORBIDDEN in steps:
        raise ValueError(f"{path!r} leads to {FORBIDDEN}, which users may write themselves")
    return path


def proper_subject(value: object, prefix: str = "") -> str:
    """Return a subject that names can be made of. Raises Unauthenticated."""
    if not isinstance(value, str) or not value:
        raise Unauthenticated(f"a subject has 1 to {MAX_SUBJECT_BYTES} bytes")
    subject = prefix + value
    if len(subject.encode("utf-8", "replace")) > MAX_SUBJECT_BYTES:
        raise Unauthenticated(f"a subject has 1 to {MAX_SUBJECT_BYTES} bytes")
    if not subject.isprintable():
        raise Unauthenticated("a subject consists of printable characters")
    return subject


def _at(claims: Mapping[str, object], path: str) -> object:
    """Return the claim at a path; None where there is none."""
    value: object = claims
    for step in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(step)
    return value
