"""Removing records that are past their time. Work for the record writer's connection: `RecordWriter.run`.

It takes its turns between the commits of new records, so it never holds the lock they wait for; each turn is short.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable

from hibana_server.domain.history import RECORD_BYTES, Removed

LOOKED_AT = 250
"""Records that one turn looks at, and removes at most: some 10 ms."""

_LOOK = f"""
    SELECT uid, tier = ?, state = 'done', {RECORD_BYTES} + length(detail) + coalesce(length(failure), 0), payloads
    FROM executions WHERE uid > ? AND uid < ? ORDER BY uid LIMIT {LOOKED_AT}
"""  # noqa: S608 - numbers of this file
_REMOVE = "DELETE FROM executions WHERE uid > ? AND uid <= ? AND tier = ? AND state = 'done'"
_TIERS = "SELECT tier, sum(bytes) FROM execution_totals GROUP BY tier"
_TIER_PAYLOADS = "SELECT tier, sum(bytes) FROM tier_payloads GROUP BY tier"
_PAYLOAD = "SELECT bytes, records FROM tier_payloads WHERE tier = ? AND sha256 = ?"
_FORGET = "DELETE FROM execution_totals WHERE count <= 0"


def remove(tier: str, after: str, before: str, enough: int) -> Callable[[sqlite3.Connection], Removed]:
    """Remove records of a tier, oldest first, until records of `enough` bytes are gone."""

    def work(connection: sqlite3.Connection) -> Removed:
        connection.execute("BEGIN IMMEDIATE")
        rows = connection.execute(_LOOK, (tier, after, before)).fetchall()
        beside = _Beside(connection, tier)
        count = size = 0
        reached = after
        settled: str | None = None
        for uid, is_of_tier, is_done, record_bytes, payloads in rows:
            if size >= enough:
                break
            if is_of_tier and not is_done and settled is None:
                settled = reached
            reached = uid
            if is_of_tier and is_done:
                count, size = count + 1, size + record_bytes
                if payloads is not None:
                    size += beside.released(json.loads(payloads))
        if count:
            connection.execute(_REMOVE, (after, reached, tier))
        connection.execute("COMMIT")
        ended = len(rows) < LOOKED_AT or size >= enough
        return Removed(count, size, reached, reached if settled is None else settled, ended)

    return work


def record_bytes(connection: sqlite3.Connection) -> dict[str, int]:
    """Return about how many bytes each tier takes, and forget totals of what is gone.

    What is kept beside records counts once for all records of a tier that name it.
    """
    connection.execute(_FORGET)
    sizes: Counter[str] = Counter()
    for statement in (_TIERS, _TIER_PAYLOADS):
        sizes.update({tier: int(size) for tier, size in connection.execute(statement)})
    return dict(sizes)


class _Beside:
    """What is kept beside a tier's records, as records go one after the other."""

    def __init__(self, connection: sqlite3.Connection, tier: str) -> None:
        self._connection = connection
        self._tier = tier
        self._left: dict[str, tuple[int, int]] = {}
        """Digest -> size, and records of the tier that still name it."""

    def released(self, digests: list[str]) -> int:
        """Take away a record with these digests; return the bytes that no other record of the tier names."""
        size = 0
        for digest in digests:
            found = self._left.get(digest)
            if found is None:
                found = self._connection.execute(_PAYLOAD, (self._tier, digest)).fetchone() or (0, 1)
            self._left[digest] = (found[0], found[1] - 1)
            size += 0 if found[1] > 1 else found[0]
        return size
