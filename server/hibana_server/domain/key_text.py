"""The text of an API key: `hib_`, its id, `_`, 256 random bits, and a checksum.

    hib_4fK0bSx2QmZr8a1C_PqV3...43 characters of secret...x9Lw0dE2a
    |   |                |                                  `- CRC-32 of all before it, 6 characters
    |   `- 16 characters `- the secret
    `- what scanners for leaked secrets look for: hib_[0-9A-Za-z]{16}_[0-9A-Za-z]{49}

Letters and digits only, so that a double click takes the whole key and no shell, header or URL has to quote it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib

PREFIX = "hib_"

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID = 16
"""Characters of an id: 95 bits, so that none is given twice."""
_SECRET = 43
"""Characters of a secret: 62**43 > 2**256."""
_CHECKSUM = 6
_FORM = re.compile(r"hib_([0-9A-Za-z]{16})_[0-9A-Za-z]{49}\Z", re.ASCII)


def make() -> tuple[str, str]:
    """Make a key; return its id and its text."""
    key_id, secret = (_random(length) for length in (_ID, _SECRET))
    body = f"{PREFIX}{key_id}_{secret}"
    return key_id, body + _checksum(body)


def id_of(text: str) -> str | None:
    """Return the id of a key; None for a text that no key has: another form, or a checksum that does not fit."""
    match = _FORM.match(text)
    if match is None or text[-_CHECKSUM:] != _checksum(text[:-_CHECKSUM]):
        return None
    return match[1]


def digest_of(text: str) -> bytes:
    """Return what is stored of a key.

    One round of SHA-256 is enough: slow hashes make guessing passwords dear, and 256 random bits are not guessed at
    any speed. A slow one would only let strangers spend the service's time.
    """
    return hashlib.sha256(text.encode("ascii")).digest()


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _checksum(body: str) -> str:
    number, found = zlib.crc32(body.encode("ascii")), ""
    for _ in range(_CHECKSUM):  # 62**6 > 2**32
        number, digit = divmod(number, len(_ALPHABET))
        found = _ALPHABET[digit] + found
    return found
