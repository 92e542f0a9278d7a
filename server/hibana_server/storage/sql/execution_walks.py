"""Ways through the records of executions: the index that a filter is served by, and what is left to ask of each row.

Every list walks one index from the newest record on. What that index does not answer is asked of a bounded number of
rows, so that the cost of a page does not grow with the table, whatever is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, and_, literal_column, true

from hibana_server.domain.executions import Outcome, State
from hibana_server.domain.ids import uid_from
from hibana_server.domain.ports import ExecutionFilter
from hibana_server.storage.sql.tables import executions

LOOKED_AT = 5000
"""Rows of an index that a page or a count looks at."""
_CLOCK_SLACK = 1_000_000
"""Microseconds between the time in a uid and the record's own, at most."""

# Spelled out and not bound: what an index holds must be known when the statement is prepared.
_DONE: ColumnElement[str] = literal_column("'done'")
_OK: ColumnElement[str] = literal_column("'ok'")


@dataclass(slots=True)
class Walk:
    """Conditions that an index leads along in the order of uids, and conditions for each row on the way."""

    led: list[ColumnElement[bool]] = field(default_factory=list)
    asked: list[ColumnElement[bool]] = field(default_factory=list)
    many_pass: bool = True
    """Whether nearly every row on the way passes what it is asked."""

    @property
    def along(self) -> ColumnElement[bool]:
        """Return what the index is walked by."""
        return and_(true(), *self.led)

    @property
    def matches(self) -> ColumnElement[bool]:
        """Return all conditions."""
        return and_(true(), *self.led, *self.asked)


def walk(where: ExecutionFilter, *, by_module: bool = False) -> Walk:
    """Choose a way. `by_module`: along the records of the module, where the filter has a caller and a module."""
    e = executions.c
    way = Walk()
    is_open = where.state is not None and where.state is not State.DONE
    failed = where.failed or (where.outcome is not None and where.outcome is not Outcome.OK)
    if is_open:
        way.led.append(e.state != _DONE)
    elif failed:
        way.led.append(e.outcome != _OK)
    if where.outcome is not None:
        way.led.append(e.outcome == where.outcome.value) if failed and not is_open else _ask(way, "outcome", where)
    led_by = "" if is_open else "module_uid" if where.module_uid and (by_module or not where.caller) else "caller"
    for name in ("caller", "module_uid", "version", "function"):
        value: str = getattr(where, name)
        if value and name == led_by:
            way.led.append(e[name] == value)
        elif value:
            # Not the bare column: another index would be chosen, and walked without a bound.
            way.asked.append(e[name].concat("") == value)
            way.many_pass = False
    if where.state is not None:
        way.asked.append(e.state == where.state.value)
    _bound_by_time(way, where)
    return way


def _ask(way: Walk, name: str, where: ExecutionFilter) -> None:
    way.asked.append(executions.c[name] == getattr(where, name).value)
    way.many_pass = False


def _bound_by_time(way: Walk, where: ExecutionFilter) -> None:
    """Bound the walk by the time in the uids, and ask rows near the bounds for their own time."""
    e = executions.c
    if where.created_after is not None:
        way.led.append(e.uid >= uid_from(where.created_after - _CLOCK_SLACK))
        way.asked.append(e.create_time >= where.created_after)
    if where.created_before is not None:
        way.led.append(e.uid < uid_from(where.created_before + _CLOCK_SLACK))
        way.asked.append(e.create_time < where.created_before)


def matches_nothing(where: ExecutionFilter) -> bool:
    """Tell whether filters contradict each other: only what is DONE has an outcome, and OK is no failure."""
    has_outcome = where.failed or where.outcome is not None
    is_open = where.state is not None and where.state is not State.DONE
    return (has_outcome and is_open) or (where.failed and where.outcome is Outcome.OK)


def is_counted(where: ExecutionFilter) -> bool:
    """Tell whether `execution_totals` knows how many records match."""
    return not (where.version or where.function or where.created_after is not None or where.created_before is not None)
