"""What the edge tells the audit log: who makes the call that is being served, and what was refused."""

from __future__ import annotations

from typing import Any, Protocol

from hibana_server.auth.failures import address_of
from hibana_server.domain.audit import SERVICE, Entry, Kind, Who, entry_of
from hibana_server.domain.callers import Caller
from hibana_server.domain.errors import Denial, HibanaError
from hibana_server.domain.text import clean, cut_utf8
from hibana_server.rpc.audit_rules import AUDIT_RULES, AUTHENTICATE
from hibana_server.rpc.calls import CURRENT, CurrentCall
from hibana_server.services.audit import AuditLog

MAX_TEXT = 512
"""Characters of one text of an entry."""
MAX_SUBJECT = 256


class Sources(Protocol):
    """Tells what a verified token is."""

    def source_of(self, token: str) -> str:
        """Return `token` for the service's own, `provider` for another's."""


class Witness:
    """Tells who calls. One for the server."""

    def __init__(self) -> None:
        self.sources: Sources | None = None
        """Set before the first call is served: what verifies keys needs the store that asks who makes a change."""

    def who(self) -> Who:
        """Return who makes the call that is being served; the service itself outside of one."""
        call = CURRENT.get(None)
        return SERVICE if call is None else self.of(call, call.address)

    def entry(self, kind: Kind, resource: str, detail: str) -> Entry:
        """Make an entry about the call that is being served."""
        return _entry(kind, self.who(), Denial(resource, why=detail))

    def of(self, call: CurrentCall, peer: str) -> Who:
        """Return who makes a call that came from a peer."""
        caller = call.caller
        if caller is None:
            return SERVICE
        return Who(
            subject=clean(caller.subject, MAX_SUBJECT),
            role=caller.role.value,
            source=self._source(caller, call.token),
            peer=_peer(call, peer),
            request_id=call.request_id,
            action=AUDIT_RULES[call.method].action,
        )

    def _source(self, caller: Caller, token: str) -> str:
        if caller.key:
            return f"key:{caller.key}"
        if not token:
            return "certificate"
        return "token" if self.sources is None else self.sources.source_of(token)


class Auditor:
    """Tells the audit log what was refused. One for the server."""

    def __init__(self, log: AuditLog, witness: Witness) -> None:
        self.log = log
        self._witness = witness

    def denied(self, call: CurrentCall, peer: str, error: HibanaError, request: Any) -> None:
        """Note that a rule refused a call."""
        denial = error.denial
        if denial is None or call.caller is None:
            return
        rule = AUDIT_RULES[call.method]
        asked = rule.resource(request) if rule.resource is not None and request is not None else ""

        def make() -> Entry:
            told = denial if denial.resource else Denial(asked, denial.reference, denial.why)
            return _entry(Kind.DENIAL, self._witness.of(call, peer), told, error.reason)

        self.log.note(Kind.DENIAL, (call.caller.subject, rule.action, error.reason), make)

    def not_authenticated(self, call: CurrentCall, peer: str, error: HibanaError) -> None:
        """Note that somebody came with credentials that do not hold; whose they claim to be is not told.

        A key that its holder sent whole, and that has ended, is named: whoever revoked it learns that it is still used.
        """

        def make() -> Entry:
            # The method may be any text as long as nobody has served it.
            method = call.method if call.method in AUDIT_RULES else ""
            who = Who(peer=_peer(call, peer), request_id=call.request_id, action=AUTHENTICATE)
            told = Denial(method, why=_WHY.get(error.reason, "they do not hold"))
            if (known := error.denial) is not None:
                told = Denial(known.resource, why=f"{known.why}; sent to {method}")
            return _entry(Kind.DENIAL, who, told, error.reason)

        self.log.note(Kind.DENIAL, ("", AUTHENTICATE, address_of(peer), error.reason), make)


_WHY = {
    "TOKEN_INVALID": "the credentials do not hold",
    "TOKEN_EXPIRED": "the token has expired",
    "TOKEN_REVOKED": "the key was revoked",
}


def _entry(kind: Kind, who: Who, denial: Denial, reason: str = "") -> Entry:
    return entry_of(
        who,
        kind,
        who.action,
        _fit(denial.resource),
        reference=_fit(denial.reference),
        reason=reason,
        detail=_fit(denial.why),
    )


def _fit(text: str) -> str:
    """Drop what could pass for something else in a terminal or a log, and cut."""
    return cut_utf8(clean(text, MAX_TEXT), MAX_TEXT)


def _peer(call: CurrentCall, address: str) -> str:
    return clean(f"{address} {call.peer}" if call.peer else address)
