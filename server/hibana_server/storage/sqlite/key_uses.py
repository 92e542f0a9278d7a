"""When API keys were last used, beside the records of executions: commits there empty nobody's caches."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping

from hibana_server.storage.sqlite.record_statement import use_statement
from hibana_server.storage.sqlite.record_writer import RecordWriter

_TOGETHER = 500
"""Ids in one statement."""


class SqliteKeyUses:
    """`domain.api_keys.KeyUses` on the connection of the record writer."""

    def __init__(self, writer: RecordWriter) -> None:
        self._writer = writer

    async def note(self, uses: Mapping[str, int]) -> None:
        """Write down when these keys were used; an earlier time than the known one changes nothing."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(use_statement(), list(uses.items()))
            connection.execute("COMMIT")

        if uses:
            await self._writer.run(work)

    async def last(self, ids: Collection[str]) -> dict[str, int]:
        """Return when these keys were last used, where that is known."""

        def work(connection: sqlite3.Connection) -> dict[str, int]:
            found: dict[str, int] = {}
            for marks, some in _batches(ids):
                query = f"SELECT id, time FROM api_key_uses WHERE id IN ({marks})"  # noqa: S608 - only marks
                found.update(connection.execute(query, some))
            return found

        return await self._writer.run(work) if ids else {}

    async def forget(self, ids: Collection[str]) -> None:
        """Forget keys that are gone."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            for marks, some in _batches(ids):
                connection.execute(f"DELETE FROM api_key_uses WHERE id IN ({marks})", some)  # noqa: S608 - only marks
            connection.execute("COMMIT")

        if ids:
            await self._writer.run(work)


def _batches(ids: Collection[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield some of the ids at a time, with the marks that stand for them in a statement."""
    ordered = list(ids)
    for start in range(0, len(ordered), _TOGETHER):
        some = ordered[start : start + _TOGETHER]
        yield ", ".join("?" * len(some)), some
