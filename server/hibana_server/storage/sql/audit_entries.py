"""Chained audit entries in a SQL database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, RowMapping, and_, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hibana_server.domain.audit import AuditFilter, AuditPage, Chained, Entry, Kind
from hibana_server.domain.audit_chain import ChainState, encoded, entry_hash
from hibana_server.domain.errors import DataLoss
from hibana_server.domain.ids import uid_from
from hibana_server.storage.cursors import decode_cursor, encode_cursor
from hibana_server.storage.sql.audit_rows import chained_from, entry_row, state_from, state_row
from hibana_server.storage.sql.database import Database
from hibana_server.storage.sql.tables import audit_chains, audit_entries

COUNTED = 10_000
"""Entries that are counted of a list; more are told as so many."""
CUT_BATCH = 500
"""Entries that one transaction removes at most."""
SKEW_US = 600_000_000
"""Time that may be between an entry's uid and when it happened: what is only counted waits for its minute's end."""
_ASKED = 500
_e = audit_entries.c

Heads = dict[Kind, ChainState]
"""The state of each chain that has one."""


async def append(connection: AsyncConnection, key: bytes, entries: Sequence[Entry]) -> tuple[list[Chained], Heads]:
    """Put entries at the ends of their chains, but for those that are there; return them, and the chains' states."""
    states = await chain_states(connection)
    there = await _known(connection, [entry.uid for entry in entries])
    changed: dict[Kind, ChainState] = {}
    chained = []
    for entry in entries:
        if entry.uid in there:
            continue
        there.add(entry.uid)
        state = changed.get(entry.kind) or states.get(entry.kind) or ChainState(entry.kind)
        sequence = state.sequence + 1
        mac = entry_hash(key, state.hash, sequence, entry)
        chained.append(Chained(entry, sequence, mac))
        changed[entry.kind] = replace(state, sequence=sequence, hash=mac, bytes=state.bytes + len(encoded(entry)))
    if chained:
        await connection.execute(insert(audit_entries), [entry_row(each) for each in chained])
    for kind, state in changed.items():
        row = state_row(key, state)
        if kind in states:
            await connection.execute(update(audit_chains).where(audit_chains.c.kind == kind.value).values(row))
        else:
            await connection.execute(insert(audit_chains), row)
    return chained, {**states, **changed}


async def chain_states(connection: AsyncConnection) -> Heads:
    """Return the state of each chain that has one."""
    rows = (await connection.execute(select(audit_chains).with_for_update())).mappings().all()
    try:
        return {state.kind: state for state, _ in map(state_from, rows)}
    except ValueError as error:
        raise damaged() from error


async def cut(connection: AsyncConnection, key: bytes, kind: Kind, *, before: int, max_bytes: int) -> int:
    """Remove some of the oldest entries of a kind, and seal from where the rest goes on."""
    state = (await chain_states(connection)).get(kind)
    if state is None:
        return 0
    query = (select(audit_entries).where(_e.kind == kind.value, _e.sequence > state.cut).order_by(_e.sequence)).limit(
        CUT_BATCH
    )
    count, last, size = 0, None, state.bytes
    for chained in _read((await connection.execute(query)).mappings().all()):
        if chained.entry.time >= before and not (max_bytes and size > max_bytes):
            break
        count, last, size = count + 1, chained, size - len(encoded(chained.entry))
    if last is None:
        return 0
    row_after = state_row(key, replace(state, cut=last.sequence, cut_hash=last.hash, bytes=max(size, 0)))
    await connection.execute(update(audit_chains).where(audit_chains.c.kind == kind.value).values(row_after))
    await connection.execute(delete(audit_entries).where(_e.kind == kind.value, _e.sequence <= last.sequence))
    return count


async def list_entries(database: Database, where: AuditFilter, *, limit: int, cursor: str = "") -> AuditPage:
    """Return a page, newest first, or along a chain. Raises Invalid(PAGE_TOKEN_INVALID)."""
    matches = and_(*_conditions(where))
    async with database.reading() as connection:
        counted = select(_e.uid).where(matches).limit(COUNTED).subquery()
        total = (await connection.execute(select(func.count()).select_from(counted))).scalar_one()
        query = select(audit_entries).where(matches)
        if where.after_sequence is None:
            if cursor:
                (uid,) = decode_cursor(cursor, "audit", str)
                query = query.where(_e.uid < uid)
            query = query.order_by(_e.uid.desc())
        else:
            if cursor:
                (sequence,) = decode_cursor(cursor, "audit_chain", int)
                query = query.where(_e.sequence > sequence)
            query = query.order_by(_e.sequence)
        rows = (await connection.execute(query.limit(limit + 1))).mappings().all()
    found = _read(rows[:limit])
    if len(rows) <= limit:
        return AuditPage(found, "", total)
    last = found[-1]
    if where.after_sequence is None:
        return AuditPage(found, encode_cursor("audit", last.entry.uid), total)
    return AuditPage(found, encode_cursor("audit_chain", last.sequence), total)


def damaged() -> DataLoss:
    """Make the error about a log that this service cannot have written."""
    return DataLoss("the audit log is damaged; its operator finds the place with hibana-server doctor --verify")


def _read(rows: Sequence[RowMapping]) -> tuple[Chained, ...]:
    try:
        return tuple(map(chained_from, rows))
    except ValueError as error:
        raise damaged() from error


def _conditions(where: AuditFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [_e.uid != ""]
    if where.kind is not None:
        found.append(_e.kind == where.kind.value)
    if where.subject:
        found.append(_e.subject == where.subject)
    if where.action.endswith("*"):
        found.append(_e.action.startswith(where.action[:-1], autoescape=True))
    elif where.action:
        found.append(_e.action == where.action)
    if where.resource:
        beneath = where.resource + "/"
        # As a range, which follows the index; "0" comes behind "/".
        found.append(or_(_e.resource == where.resource, and_(_e.resource > beneath, _e.resource < beneath[:-1] + "0")))
    if where.start_time is not None:
        found += [_e.time >= where.start_time, _e.uid >= uid_from(where.start_time - SKEW_US)]
    if where.end_time is not None:
        found += [_e.time < where.end_time, _e.uid < uid_from(where.end_time + SKEW_US)]
    if where.after_sequence is not None:
        found.append(_e.sequence > where.after_sequence)
    return found


async def _known(connection: AsyncConnection, uids: list[str]) -> set[str]:
    known: set[str] = set()
    for start in range(0, len(uids), _ASKED):
        query = select(_e.uid).where(_e.uid.in_(uids[start : start + _ASKED]))
        known.update((await connection.execute(query)).scalars())
    return known
