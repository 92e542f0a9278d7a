"""The statement that stores records of executions, made from the table's definition."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain

from sqlalchemy import ClauseElement, ColumnElement, bindparam, literal_column, select
from sqlalchemy.dialects import sqlite

from hibana_server.domain.executions import Outcome, State
from hibana_server.storage.sql.execution_rows import Value, bulk
from hibana_server.storage.sql.tables import api_key_uses, executions, leases

MAX_ROWS = 64
"""Rows of the largest statement; its parameters stay far below SQLite's 32,766."""
LARGE_BYTES = 4096
"""Detail of a row past which it is stored by a statement of its own.

A statement that stays prepared keeps a copy of what it was given last, until it is used again. Many large rows in one
would be held for as long as no batch of that size comes: some 30 MB in all sizes together.
"""

_DIALECT = sqlite.dialect(paramstyle="qmark")
_DONE: ColumnElement[str] = literal_column(f"'{State.DONE.value}'")
_NOBODY: ColumnElement[str] = literal_column("''")
_LOST: ColumnElement[str] = literal_column(f"'{Outcome.LOST.value}'")


@cache
def store_statement(rows: int) -> str:
    """Return the statement that stores this many rows; its parameters are the rows' values in column order.

    It inserts what is new and replaces what is not DONE yet: compare-and-set, in one statement.
    """
    names = executions.columns.keys()
    insert = sqlite.insert(executions).values(
        [{name: bindparam(f"r{row}_{name}") for name in names} for row in range(rows)]
    )
    upsert = insert.on_conflict_do_update(
        index_elements=[executions.c.uid],
        set_={name: insert.excluded[name] for name in names if name != "uid"},
        where=executions.c.state != _DONE,
    )
    compiled = upsert.compile(dialect=_DIALECT)
    expected = [f"r{row}_{name}" for row in range(rows) for name in names]
    if compiled.positiontup != expected:
        raise AssertionError("SQLAlchemy does not bind rows in the order of their columns any more.")
    return str(compiled)


@cache
def sweep_statement() -> str:
    """Return the statement that ends every open record without a lease as LOST; parameters: end_time, failure, now."""
    statement = (
        executions.update()
        .where(executions.c.state != _DONE)
        .where(executions.c.holder.not_in(select(leases.c.holder).where(leases.c.until > bindparam("then"))))
        .values(state=_DONE, outcome=_LOST, end_time=bindparam("now"), failure=bindparam("why"), holder=_NOBODY)
    )
    return _compiled(statement, ["now", "why", "then"])


@cache
def lease_statement() -> str:
    """Return the statement that takes or renews a lease; parameters: holder, until."""
    insert = sqlite.insert(leases).values(holder=bindparam("holder"), until=bindparam("until"))
    return _compiled(
        insert.on_conflict_do_update(index_elements=[leases.c.holder], set_={"until": insert.excluded.until}),
        ["holder", "until"],
    )


@cache
def open_statement() -> str:
    """Return the statement that finds the open records of a holder; parameter: holder."""
    statement = select(executions.c.uid).where(executions.c.state != _DONE, executions.c.holder == bindparam("holder"))
    return _compiled(statement, ["holder"])


@cache
def use_statement() -> str:
    """Return the statement that notes the use of an API key; parameters: id, time."""
    insert = sqlite.insert(api_key_uses).values(id=bindparam("id"), time=bindparam("time"))
    later = insert.excluded.time > api_key_uses.c.time
    return _compiled(
        insert.on_conflict_do_update(
            index_elements=[api_key_uses.c.id], set_={"time": insert.excluded.time}, where=later
        ),
        ["id", "time"],
    )


def _compiled(statement: ClauseElement, expected: list[str]) -> str:
    compiled = statement.compile(dialect=_DIALECT)
    if getattr(compiled, "positiontup", None) != expected:
        raise AssertionError("SQLAlchemy does not bind values in the order given any more.")
    return str(compiled)


def statements(rows: Sequence[tuple[Value, ...]]) -> Iterator[tuple[str, tuple[Value, ...]]]:
    """Yield the statements that store these rows, each with its parameters; rows must have different uids."""
    small = [row for row in rows if bulk(row) <= LARGE_BYTES]
    done = 0
    for size in split(len(small)):
        yield store_statement(size), tuple(chain.from_iterable(small[done : done + size]))
        done += size
    for row in rows:
        if bulk(row) > LARGE_BYTES:
            yield store_statement(1), row


def split(count: int) -> list[int]:
    """Return statement sizes, powers of two, that add up to count: few distinct statements stay prepared."""
    sizes = [MAX_ROWS] * (count // MAX_ROWS)
    rest = count % MAX_ROWS
    return sizes + [1 << bit for bit in reversed(range(rest.bit_length())) if rest & (1 << bit)]
