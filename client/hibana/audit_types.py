"""Entries of the audit log, as the client tells them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class AuditKind(StrEnum):
    """What an entry tells of. Each kind is a chain of its own."""

    CHANGE = "change"
    DENIAL = "denial"
    READ = "read"
    """An admin read what belongs to somebody else."""
    UNKNOWN = "unknown"
    """A kind that this release does not know."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change, refusal, or look at what is somebody else's."""

    kind: AuditKind
    sequence: int
    """Place in the chain of its kind, from 1, without gaps."""
    time: datetime
    subject: str
    """Empty for the service itself, and for credentials that do not hold."""
    role: str
    source: str
    """What the subject is known by: token, provider, key:ID, certificate; service for the service itself."""
    peer: str
    """Where the call came from."""
    action: str
    resource: str
    reference: str
    """The resource as people spell it, as it was called then."""
    denied: bool
    reason: str
    """What a refused caller was told."""
    detail: str
    """The rule that refused, also where the caller was told NOT_FOUND."""
    before: Mapping[str, Any] | None
    """The changed fields as they were; None where there was nothing."""
    after: Mapping[str, Any] | None
    request_id: str
    count: int
    """How many it stands for, where the rest was only counted."""
    last_time: datetime | None
    """When the last of them happened; None where it is one."""
    hash: str
    """HMAC over the entry and the hash of the one before; only the server can make and check it."""
