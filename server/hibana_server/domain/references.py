"""References to modules: parsing what callers write, and spelling it back.

Accepted: `modules/{uid}`, `modules/{uid}/versions/{version}`, `system/NAME`, `admin/NAME`,
`user/NAME` (the caller's own), `user/OWNER/NAME`; all but the first two with optional
`@VERSION`. OWNER is percent-encoded, because subjects may hold `/` and `@`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from hibana_server.domain.errors import Invalid
from hibana_server.domain.tiers import Tier

MAX_REFERENCE_BYTES = 1024
MAX_SUBJECT_BYTES = 256

# \Z and not $: the latter would let a trailing newline through.
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z", re.ASCII)
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]{0,63}\Z", re.ASCII)
UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z", re.ASCII)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")

ACCEPTED = "use modules/UID, system/NAME, admin/NAME, user/NAME or user/OWNER/NAME, with @VERSION if needed"


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed reference: either `uid`, or `tier` and `name` with an optional `owner`."""

    uid: str = ""
    tier: Tier | None = None
    owner: str = ""
    """Decoded subject; empty for `user/NAME`, which means the caller."""
    name: str = ""
    version: str = ""
    """Empty means the live version."""


def parse(text: str, field: str = "module") -> Reference:
    """Read a reference. `field` names the request's field in errors. Raises Invalid(REFERENCE_INVALID)."""
    if not text:
        raise _invalid(field, f"is empty; {ACCEPTED}")
    if len(text.encode("utf-8", "surrogatepass")) > MAX_REFERENCE_BYTES:
        raise _invalid(field, f"is longer than {MAX_REFERENCE_BYTES} bytes")
    parts = text.split("/")
    if parts[0] == "modules":
        return _by_uid(parts, field)
    path, _, version = text.partition("@")
    if "@" in text and not VERSION.match(version):
        raise _invalid(field, "has a malformed version after '@'; write '@' in an owner as %40")
    parts = path.split("/")
    try:
        tier = Tier(parts[0])
    except ValueError:
        raise _invalid(field, f"starts with an unknown tier; {ACCEPTED}") from None
    owner = ""
    if tier is Tier.USER and len(parts) == 3:
        owner = _decode_owner(parts[1], field)
    elif len(parts) != 2:
        raise _invalid(field, f"has a wrong number of parts; {ACCEPTED}")
    if not NAME.match(parts[-1]):
        raise _invalid(
            field, "has a malformed module name; use 1-63 of a-z, 0-9 and '-', starting with a letter or digit"
        )
    return Reference(tier=tier, owner=owner, name=parts[-1], version=version)


def spell(tier: Tier, owner: str, name: str) -> str:
    """Spell the reference that works for every caller."""
    if tier is Tier.USER:
        return f"user/{quote(owner, safe='')}/{name}"
    return f"{tier}/{name}"


def _by_uid(parts: list[str], field: str) -> Reference:
    if len(parts) not in (2, 4) or not UID.match(parts[1]):
        raise _invalid(field, "is not modules/UID or modules/UID/versions/VERSION")
    if len(parts) == 2:
        return Reference(uid=parts[1])
    if parts[2] != "versions" or not VERSION.match(parts[3]):
        raise _invalid(field, "is not modules/UID/versions/VERSION")
    return Reference(uid=parts[1], version=parts[3])


def _decode_owner(text: str, field: str) -> str:
    if not text or _BAD_ESCAPE.search(text):
        raise _invalid(field, "has a malformed owner; percent-encode it")
    try:
        owner = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise _invalid(field, "has an owner that is not UTF-8 after percent-decoding") from None
    # Printable first: what is not may be a lone surrogate, which has no UTF-8 form to measure.
    if not owner.isprintable() or len(owner.encode()) > MAX_SUBJECT_BYTES:
        raise _invalid(field, f"has an owner that is not printable or longer than {MAX_SUBJECT_BYTES} bytes")
    return owner


def _invalid(field: str, description: str) -> Invalid:
    return Invalid.field(field, description, reason="REFERENCE_INVALID")
