"""Who keeps open records open. Work for the record writer's connection: `RecordWriter.run`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from hibana_server.domain.executions import Failure
from hibana_server.storage.sql.execution_rows import encode_failure
from hibana_server.storage.sqlite.record_statement import lease_statement, open_statement, sweep_statement

_LOST = encode_failure(
    Failure(message="The service ended while this execution was open; how far it came is unknown. Run it again.")
)

Work = Callable[[sqlite3.Connection], None]


def renew(holder: str, until: int) -> Work:
    """Keep a holder's open records open until this time, microseconds."""

    def work(connection: sqlite3.Connection) -> None:
        connection.execute(lease_statement(), (holder, until))

    return work


def end_all(connection: sqlite3.Connection) -> None:
    """End every lease."""
    connection.execute("DELETE FROM leases")


def sweep(now: int) -> Callable[[sqlite3.Connection], int]:
    """End the open records whose holder has no lease as LOST, and forget expired leases; return how many there were."""

    def work(connection: sqlite3.Connection) -> int:
        connection.execute("BEGIN IMMEDIATE")
        count = connection.execute(sweep_statement(), (now, _LOST, now)).rowcount
        connection.execute("DELETE FROM leases WHERE until <= ?", (now,))
        connection.execute("COMMIT")
        return count

    return work


def referenced(digests: list[str]) -> Callable[[sqlite3.Connection], set[str]]:
    """Return those of these digests that a record names; at most some hundred."""

    def work(connection: sqlite3.Connection) -> set[str]:
        marks = ", ".join("?" * len(digests))
        query = f"SELECT DISTINCT sha256 FROM execution_payloads WHERE sha256 IN ({marks})"  # noqa: S608 - only marks
        return {sha256 for (sha256,) in connection.execute(query, digests)}

    return work


def open_records(holder: str) -> Callable[[sqlite3.Connection], list[str]]:
    """Return the uids of a holder's open records."""

    def work(connection: sqlite3.Connection) -> list[str]:
        return [uid for (uid,) in connection.execute(open_statement(), (holder,))]

    return work
