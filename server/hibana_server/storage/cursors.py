"""Write and read the opaque cursors of keyset paging."""

from __future__ import annotations

import base64
import binascii

import msgspec

from hibana_server.domain.errors import Invalid

MAX_CURSOR_CHARACTERS = 1024

_INT64 = 1 << 63


def encode_cursor(kind: str, *key: str | int) -> str:
    """Return the cursor that continues after the row with this sort key.

    `kind` names the list, so that a cursor of one list is refused by another.
    """
    return base64.urlsafe_b64encode(msgspec.json.encode([kind, *key])).rstrip(b"=").decode()


def decode_cursor(cursor: str, kind: str, *types: type[str | int]) -> tuple[str | int, ...]:
    """Return the sort key inside a cursor; its parts have exactly these types.

    Cursors come from callers. Raises Invalid(PAGE_TOKEN_INVALID) for anything that `encode_cursor`
    does not write for this kind.
    """
    if len(cursor) > MAX_CURSOR_CHARACTERS:
        raise _refused()
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        found = msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error) as error:  # msgspec's errors are ValueErrors, UnicodeError too
        raise _refused() from error
    if not isinstance(found, list) or len(found) != len(types) + 1 or found[0] != kind:
        raise _refused()
    key = found[1:]
    for part, expected in zip(key, types, strict=True):
        if type(part) is not expected or (isinstance(part, int) and not -_INT64 <= part < _INT64):
            raise _refused()
    return tuple(key)


def _refused() -> Invalid:
    return Invalid.field(
        "page_token",
        "is no token of this list; pass next_page_token of the page before unchanged, or start without one",
        reason="PAGE_TOKEN_INVALID",
    )
