"""The chain of audit entries: hashes that only this server can make, and the search for the first place that is broken.

Every entry's hash is an HMAC over its content, its place and the hash before; the state of each chain (its newest
entry, and where retention has cut it) is sealed with the same key. A copy of the newest places, the head, is kept
apart: without it entries removed from the end together with an old seal would not be missed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass

from hibana_server.domain.audit import Chained, Entry, Kind

START = bytes(32)
"""What stands for the hash before the first entry."""
_ENTRY = b"hibana audit entry 1\0"
_STATE = b"hibana audit state 1\0"
_HEAD = b"hibana audit head 1\0"


@dataclass(frozen=True, slots=True)
class ChainState:
    """How far a chain goes. What it says of `cut` is the signed checkpoint from which the rest verifies."""

    kind: Kind
    sequence: int = 0
    """Of the newest entry; 0 where there never was one."""
    hash: bytes = START
    """Of the newest entry."""
    cut: int = 0
    """Retention has removed the entries up to this one."""
    cut_hash: bytes = START
    """Hash of that one."""
    bytes: int = 0
    """Of the entries that are kept, about."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a chain."""

    sequence: int
    hash: bytes


Head = Mapping[Kind, Place]
"""The newest place of each chain."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What reading a chain from its beginning to its end has found."""

    kind: Kind
    entries: int
    """That were read."""
    newest: Place
    broken: str = ""
    """The first place that is broken, and how; empty where the chain holds."""
    gaps: tuple[str, ...] = ()
    """Entries that tell of a chain that a start found broken."""


GAP = "audit.gap"
"""Action of an entry that tells that the chains were not as they were left."""


def entry_hash(key: bytes, before: bytes, sequence: int, entry: Entry) -> bytes:
    """Return the hash of an entry at a place, behind the entry of the hash `before`."""
    return _mac(key, _ENTRY, before + sequence.to_bytes(8, "big") + encoded(entry))


def encoded(entry: Entry) -> bytes:
    """Spell an entry in the one way that is hashed: a JSON array of its fields in order, in ASCII."""
    return json.dumps(astuple(entry), ensure_ascii=True, separators=(",", ":")).encode()


def state_seal(key: bytes, state: ChainState) -> bytes:
    """Return the seal of a state."""
    told = [state.kind, state.sequence, state.hash.hex(), state.cut, state.cut_hash.hex(), state.bytes]
    return _mac(key, _STATE, json.dumps(told).encode())


def head_seal(key: bytes, head: Head) -> bytes:
    """Return the seal of a head."""
    told = [[kind, head[kind].sequence, head[kind].hash.hex()] for kind in sorted(head)]
    return _mac(key, _HEAD, json.dumps(told).encode())


def same(one: bytes, other: bytes) -> bool:
    """Compare seals in constant time."""
    return hmac.compare_digest(one, other)


class Reading:
    """Follows a chain from where it was cut to its end and finds the first entry that does not hold."""

    def __init__(self, key: bytes, state: ChainState, seal: bytes | None, head: Place | None) -> None:
        """Take the stored state with its seal, None where nothing is stored, and the head that was kept apart."""
        self._key = key
        self._state = state
        self._head = head
        self._sequence, self._hash = state.cut, state.cut_hash
        self._entries = 0
        self._gaps: list[str] = []
        self._broken = ""
        stands = seal is None and state == ChainState(state.kind)
        if not stands and (seal is None or not same(seal, state_seal(key, state))):
            self._broken = (
                f"the state of the {state.kind} chain is not sealed by this server's key: "
                "it was written by somebody else, or keys/audit.key was replaced"
            )
        self._meet_head()

    def follow(self, entries: Iterable[Chained]) -> None:
        """Read on."""
        for chained in entries:
            if self._broken:
                return
            self._one(chained)

    def unreadable(self, why: str) -> None:
        """Take note that the next entry, or the state, is nothing that this service wrote."""
        self._broken = self._broken or f"{self._state.kind} entry {self._sequence + 1} was changed: {why}"

    def end(self) -> Verified:
        """Return what was found when all entries were read."""
        state, kind = self._state, self._state.kind
        if not self._broken and self._sequence < state.sequence:
            self._broken = f"{kind} entry {self._sequence + 1} is missing: the chain goes to {state.sequence}"
        if not self._broken and self._hash != state.hash:
            self._broken = f"{kind} entry {self._sequence} is not the one that was stored last"
        if not self._broken and self._head is not None and self._head.sequence > self._sequence:
            self._broken = (
                f"{kind} entry {self._sequence + 1} is missing: the chain went to {self._head.sequence} "
                "when audit.head was written"
            )
        return Verified(kind, self._entries, Place(self._sequence, self._hash), self._broken, tuple(self._gaps))

    def _one(self, chained: Chained) -> None:
        kind, wanted = self._state.kind, self._sequence + 1
        if chained.sequence != wanted:
            self._broken = f"{kind} entry {wanted} is missing: entry {chained.sequence} comes next"
        elif wanted > self._state.sequence:
            self._broken = f"{kind} entry {wanted} is behind the end of the chain, which is {self._state.sequence}"
        elif chained.entry.kind is not kind or not same(
            chained.hash, entry_hash(self._key, self._hash, wanted, chained.entry)
        ):
            self._broken = f"{kind} entry {wanted} was changed, or the one before it: its hash does not hold"
        else:
            self._entries += 1
            self._sequence, self._hash = wanted, chained.hash
            if chained.entry.action == GAP:
                self._gaps.append(f"{kind} entry {wanted}: {chained.entry.detail}")
            self._meet_head()

    def _meet_head(self) -> None:
        head = self._head
        if not self._broken and head is not None and head.sequence == self._sequence and head.hash != self._hash:
            self._broken = f"{self._state.kind} entry {self._sequence} is another than when audit.head was written"


def _mac(key: bytes, label: bytes, data: bytes) -> bytes:
    return hmac.new(key, label + data, hashlib.sha256).digest()
