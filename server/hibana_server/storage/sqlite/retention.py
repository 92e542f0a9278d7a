"""Removing records that are past their time. Work for the record writer's connection: `RecordWriter.run`.

It takes its turns between the commits of new records, so it never holds the lock they wait for; each turn is short.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from hibana_server.domain.history import RECORD_BYTES, Removed

LOOKED_AT = 250
"""Records that one turn looks at, and removes at most: some 10 ms."""

_LOOK = f"""
    SELECT uid, tier = ?, state = 'done', {RECORD_BYTES} + length(detail) + coalesce(length(failure), 0)
    FROM executions WHERE uid > ? AND uid < ? ORDER BY uid LIMIT {LOOKED_AT}
"""  # noqa: S608 - numbers of this file
_REMOVE = "DELETE FROM executions WHERE uid > ? AND uid <= ? AND tier = ? AND state = 'done'"
_TIERS = "SELECT tier, sum(bytes) FROM execution_totals GROUP BY tier"
_FORGET = "DELETE FROM execution_totals WHERE count <= 0"


def remove(tier: str, after: str, before: str, enough: int) -> Callable[[sqlite3.Connection], Removed]:
    """Remove records of a tier, oldest first, until records of `enough` bytes are gone."""

    def work(connection: sqlite3.Connection) -> Removed:
        connection.execute("BEGIN IMMEDIATE")
        rows = connection.execute(_LOOK, (tier, after, before)).fetchall()
        count = size = 0
        reached = after
        settled: str | None = None
        for uid, is_of_tier, is_done, record_bytes in rows:
            if size >= enough:
                break
            if is_of_tier and not is_done and settled is None:
                settled = reached
            reached = uid
            if is_of_tier and is_done:
                count, size = count + 1, size + record_bytes
        if count:
            connection.execute(_REMOVE, (after, reached, tier))
        connection.execute("COMMIT")
        ended = len(rows) < LOOKED_AT or size >= enough
        return Removed(count, size, reached, reached if settled is None else settled, ended)

    return work


def record_bytes(connection: sqlite3.Connection) -> dict[str, int]:
    """Return about how many bytes the records of each tier take, and forget totals of what is gone."""
    connection.execute(_FORGET)
    return {tier: int(size) for tier, size in connection.execute(_TIERS)}
