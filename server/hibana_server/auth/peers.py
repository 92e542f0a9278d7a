"""Who a peer is by the certificate it showed: a caller for each name that the settings list (mutual TLS)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hibana_server.auth.claims import proper_subject
from hibana_server.domain.callers import Caller, Role
from hibana_server.domain.errors import Unauthenticated

_ANY = "*"


@dataclass(frozen=True, slots=True)
class PeerRule:
    """A name, or all names with a beginning, and the caller they stand for."""

    name: str
    """SPIFFE id or DNS name; with `*` at its end, all that begin so."""
    role: Role
    subject: str
    """Its `*` stands for what the name's `*` stood for."""

    def match(self, name: str) -> str | None:
        """Return the subject that a name stands for; None where it is not meant."""
        if not self.name.endswith(_ANY):
            return self.subject if name == self.name else None
        beginning = self.name[: -len(_ANY)]
        if not name.startswith(beginning) or len(name) == len(beginning):
            return None
        return self.subject.replace(_ANY, name[len(beginning) :])


def read_rule(text: str) -> PeerRule:
    """Read `NAME=ROLE:SUBJECT`, as `spiffe://mesh/web=service:web`. Raises ValueError."""
    name, equals, caller = text.rpartition("=")
    role, colon, subject = caller.partition(":")
    if not (name and equals and colon and subject) or role not in set(Role):
        raise ValueError(f"{text!r} is no rule; write NAME=ROLE:SUBJECT, as spiffe://mesh/web=service:web")
    if _ANY in name[:-1] or (_ANY in subject and not name.endswith(_ANY)):
        raise ValueError(f"{text!r}: a name has `*` at its end only, and a subject has one only where its name does")
    return PeerRule(name, Role(role), subject)


class Peers:
    """Maps the names in a verified certificate to a caller."""

    def __init__(self, rules: Iterable[PeerRule]) -> None:
        self._rules = tuple(rules)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def caller(self, names: Iterable[str]) -> Caller:
        """Return the caller of the first rule that means one of the names. Raises Unauthenticated."""
        told = tuple(names)
        for rule in self._rules:
            for name in told:
                subject = rule.match(name)
                if subject is not None:
                    return Caller(proper_subject(subject), rule.role)
        raise Unauthenticated(
            "no credentials, and the certificate's name is none that the settings (tls.peers) map to a caller; "
            "send `authorization: Bearer TOKEN`",
            reason="TOKEN_MISSING",
        )
