"""The public keys of an issuer, as a JSON Web Key Set (RFC 7517) tells them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from hibana_server.domain.errors import Invalid

MAX_BYTES = 256 * 1024
MAX_KEYS = 64
KINDS = {"RS256": ("RSA", None), "ES256": ("EC", "P-256"), "EdDSA": ("OKP", "Ed25519")}
"""Algorithm -> type and curve of its keys. A key fits one of them: a token cannot choose."""
MIN_RSA_BITS = 2048
_PUBLIC = (rsa.RSAPublicKey, ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey)


@dataclass(frozen=True, slots=True)
class Key:
    """A key that verifies, and the one algorithm it does that with."""

    kid: str
    algorithm: str
    key: Any


class KeySet:
    """Keys by their ids."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = tuple(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, kid: str | None) -> tuple[Key, ...]:
        """Return the keys of this id; for a token without one, all that have none, or the only one there is."""
        if kid is not None:
            return tuple(key for key in self._keys if key.kid == kid)
        return self._keys if len(self._keys) == 1 else tuple(key for key in self._keys if not key.kid)


def read_key_set(data: bytes, algorithms: Iterable[str]) -> KeySet:
    """Read a key set; keys for other purposes and algorithms are left out. Raises Invalid."""
    if len(data) > MAX_BYTES:
        raise Invalid(f"the key set has more than {MAX_BYTES} bytes")
    try:
        told = json.loads(data)
        entries = told["keys"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Invalid('the key set is no JSON object with "keys"') from None
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise Invalid(f"the key set has no list of at most {MAX_KEYS} keys")
    keys = tuple(_usable(entries, frozenset(algorithms)))
    if not keys:
        raise Invalid("the key set has no key for the algorithms that the settings name")
    return KeySet(keys)


def _usable(entries: list[object], algorithms: frozenset[str]) -> Iterator[Key]:
    for entry in entries:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
            continue
        algorithm = next((a for a, kind in KINDS.items() if (entry.get("kty"), entry.get("crv")) == kind), "")
        if algorithm not in algorithms or entry.get("alg", algorithm) != algorithm:
            continue
        kid = entry.get("kid", "")
        try:
            key = jwt.PyJWK.from_dict(entry, algorithm).key
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        # Short keys are guessed, and a set that holds private ones is no public set.
        if isinstance(kid, str) and isinstance(key, _PUBLIC) and not _is_short(key):
            yield Key(kid, algorithm, key)


def _is_short(key: object) -> bool:
    return isinstance(key, rsa.RSAPublicKey) and key.key_size < MIN_RSA_BITS
