"""Page tokens: a store's cursor bound to the filters it was made for (AIP-158).

A token is not a secret and grants nothing, since every page is filtered by what its caller may
see; the binding only keeps a token of one list from silently skipping rows of another.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

from hibana_server.domain.errors import Invalid

DEFAULT_SIZE = 50
MAX_SIZE = 500
_TAG_BYTES = 9


def page_size(asked: int) -> int:
    """Return the number of rows to read: 0 means 50, more than 500 means 500."""
    return min(asked or DEFAULT_SIZE, MAX_SIZE)


def seal(cursor: str, *filters: object) -> str:
    """Make a page token of a cursor; an empty cursor (last page) makes an empty token."""
    if not cursor:
        return ""
    return base64.urlsafe_b64encode(_tag(filters) + cursor.encode()).decode().rstrip("=")


def unseal(token: str, *filters: object) -> str:
    """Return the cursor of a token. Raises Invalid(PAGE_TOKEN_INVALID) when it is not one for these filters."""
    if not token:
        return ""
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        tag, cursor = raw[:_TAG_BYTES], raw[_TAG_BYTES:].decode()
    except (binascii.Error, ValueError):
        raise _invalid("is not one that this list returned") from None
    if tag != _tag(filters) or not cursor:
        raise _invalid("belongs to a list with other filters; start again without it")
    return cursor


def _tag(filters: tuple[object, ...]) -> bytes:
    return hashlib.blake2b(repr(filters).encode(), digest_size=_TAG_BYTES).digest()


def _invalid(description: str) -> Invalid:
    return Invalid.field("page_token", description, reason="PAGE_TOKEN_INVALID")
