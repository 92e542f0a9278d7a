"""API keys, as the client tells them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A credential for machines."""

    name: str
    """`apiKeys/{id}`."""
    subject: str
    """Whom it stands for."""
    display_name: str
    role: str
    """Of calls with it: user, service or admin."""
    creator: str
    """Who made it."""
    create_time: datetime | None = None
    expire_time: datetime | None = None
    last_used_time: datetime | None = None
    """None where it never was used."""
    revoke_time: datetime | None = None
    """None where it was not revoked."""


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key that was just made."""

    key: ApiKey
    secret: str = field(repr=False)
    """What to send as the token. Nobody can tell it again: keep it now, out of logs. Empty where an earlier copy of the
    request (same `request_id`) made the key."""
