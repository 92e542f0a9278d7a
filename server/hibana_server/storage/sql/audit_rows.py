"""Turn audit entries and the states of their chains into rows and back."""

from __future__ import annotations

from dataclasses import asdict, fields

from sqlalchemy import RowMapping

from hibana_server.domain.audit import Chained, Entry, Kind
from hibana_server.domain.audit_chain import ChainState, state_seal

_FIELDS = tuple(field.name for field in fields(Entry) if field.name != "kind")
_NUMBERS = frozenset({"time", "count", "last_time"})


def entry_row(chained: Chained) -> dict[str, object]:
    """Return the row of `tables.audit_entries`."""
    return {
        **asdict(chained.entry),
        "kind": chained.entry.kind.value,
        "sequence": chained.sequence,
        "hash": chained.hash,
    }


def chained_from(row: RowMapping) -> Chained:
    """Return the entry of a row. Raises ValueError for one that this service cannot have written."""
    entry = Entry(kind=Kind(row["kind"]), **{name: row[name] for name in _FIELDS})
    numbers = (entry.time, entry.count, entry.last_time, row["sequence"])
    texts = (row[name] for name in _FIELDS if name not in _NUMBERS)
    # SQLite keeps what it is given, whatever the column's type.
    if not all(isinstance(each, int) for each in numbers) or not all(isinstance(each, str) for each in texts):
        raise ValueError("an audit entry has a field of another type")
    return Chained(entry, row["sequence"], _hash(row["hash"]))


def state_row(key: bytes, state: ChainState) -> dict[str, object]:
    """Return the sealed row of `tables.audit_chains`."""
    return {**asdict(state), "kind": state.kind.value, "seal": state_seal(key, state)}


def state_from(row: RowMapping) -> tuple[ChainState, bytes]:
    """Return the state of a row, and its seal. Raises ValueError for one that this service cannot have written."""
    numbers = (row["sequence"], row["cut"], row["bytes"])
    if not all(isinstance(each, int) for each in numbers):
        raise ValueError("the state of a chain has a field of another type")
    state = ChainState(
        Kind(row["kind"]), row["sequence"], _hash(row["hash"]), row["cut"], _hash(row["cut_hash"]), row["bytes"]
    )
    return state, _hash(row["seal"])


def _hash(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a hash of the audit log has another type")  # noqa: TRY004 - what a file holds, not a defect
    return value
