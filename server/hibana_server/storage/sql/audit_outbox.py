"""What the audit log is told of changes to the registry, in the transaction of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hibana_server.domain.audit import SERVICE, Entry, Kind, Who, entry_of
from hibana_server.domain.audit_changes import State, difference
from hibana_server.storage.sql.database import Database, uninterrupted
from hibana_server.storage.sql.tables import audit_outbox

_BATCH = 500

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Entry).decode


def nobody() -> Who:
    """Return who does what is done outside of any call."""
    return SERVICE


class AuditNotes:
    """Notes changes on the connection that makes them: what is committed with it cannot be missing afterwards.

    Rows that the audit log has taken are removed by the next note, so that no commit is made for that: each moves
    the counter by which catalogs know that the registry changed.
    """

    def __init__(self, who: Callable[[], Who] = nobody) -> None:
        """Take what tells who is making a change."""
        self._who = who
        self.mark = 0
        """Rows up to this number have been taken."""

    async def note(
        self,
        connection: AsyncConnection,
        resource: str,
        before: State | None,
        after: State | None,
        *,
        reference: str = "",
        action: str = "",
    ) -> None:
        """Tell of one change: fields before and after, None where there was or is nothing.

        What was done is what the call is for, unless an `action` is given.
        """
        who = self._who()
        was, now = difference(before, after)
        done = action or who.action or "service.change"
        entry = entry_of(who, Kind.CHANGE, done, resource, reference=reference, before=was, after=now)
        if self.mark:
            await connection.execute(delete(audit_outbox).where(audit_outbox.c.number <= self.mark))
        await connection.execute(insert(audit_outbox).values(entry=_encode(entry)))


class SqlOutbox:
    """`domain.audit.Outbox` over the registry's database."""

    def __init__(self, database: Database, notes: AuditNotes) -> None:
        self._database = database
        self._notes = notes

    async def waiting(self) -> tuple[Sequence[Entry], int]:
        """Return some that are not taken, oldest first, and the mark to say so by."""
        number = audit_outbox.c.number
        query = select(audit_outbox).where(number > self._notes.mark).order_by(number).limit(_BATCH)
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).all()
        return [_decode(row.entry) for row in rows], rows[-1].number if rows else self._notes.mark

    def taken(self, mark: int) -> None:
        """Note that what was waiting up to this mark is in the audit store."""
        self._notes.mark = mark

    async def clear(self) -> None:
        """Remove at once what is taken."""
        await uninterrupted(self._clear())

    async def _clear(self) -> None:
        async with self._database.writing() as connection:
            await connection.execute(delete(audit_outbox).where(audit_outbox.c.number <= self._notes.mark))
