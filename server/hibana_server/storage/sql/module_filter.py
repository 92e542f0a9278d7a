"""Which modules a caller may see in lists, as SQL: one condition for each way in.

The same rules as the service's access decisions, once more as queries: a list cannot ask for every row.
The ways do not overlap, and each follows an index in the order of lists, so that a page costs the
same wherever it is and however many modules there are of others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import ColumnElement, and_, func, literal, select, true

from hibana_server.domain.errors import Invalid
from hibana_server.domain.modules import Status
from hibana_server.domain.ports import ModuleFilter
from hibana_server.domain.tiers import Tier
from hibana_server.storage.sql.module_rows import TIER_RANKS, fold
from hibana_server.storage.sql.tables import allowed_users, modules

MAX_TEXT_CHARACTERS = 1000
"""Longest text to search for; SQLite refuses patterns of 50,000 bytes."""

_Type = TypeVar("_Type")

_LIVING = (Status.ACTIVE.value, Status.DISABLED.value)


@dataclass(frozen=True, slots=True)
class Way:
    """One way into a list."""

    tier: Tier | None
    """The only tier it leads to; None for all of them."""
    condition: ColumnElement[bool]


def ways(where: ModuleFilter) -> list[Way]:
    """Return the ways to the rows to be listed; no row is on two. Raises Invalid for a text that is too long."""
    conditions = _filters(where)
    if where.viewer_is_admin and not where.executable_only:
        found = [Way(where.tier, and_(_tier(where.tier), _status(where)))]
    else:
        found = [way for way in _to_what_is_executable(where) if where.tier in (None, way.tier)]
    return [Way(way.tier, and_(way.condition, *conditions)) for way in found]


def _to_what_is_executable(where: ModuleFilter) -> Iterator[Way]:
    m = modules.c
    active = and_(m.status == Status.ACTIVE.value, _status(where))
    yield Way(Tier.SYSTEM, and_(_tier(Tier.SYSTEM), active))
    if where.viewer_is_admin:
        yield Way(Tier.ADMIN, and_(_tier(Tier.ADMIN), active))
    user = _tier(Tier.USER)
    if where.owner in ("", where.viewer):
        # What is one's own is seen in every state, and run while it is active.
        status = active if where.executable_only else _status(where)
        yield Way(Tier.USER, and_(user, m.owner == where.viewer, status))
    if where.owner == where.viewer:
        return
    others = m.owner != where.viewer
    # An owner's modules are found by the owner.
    public = _bare(m.is_public) if where.owner else m.is_public
    yield Way(Tier.USER, and_(user, public, active, others))
    # From the allow-lists to the modules: conditions on bare columns only would have the database walk all
    # modules that are not public.
    shared = select(allowed_users.c.module_uid).where(allowed_users.c.subject == where.viewer)
    private = and_(
        ~_bare(m.is_public),
        _bare(m.status) == Status.ACTIVE.value,
        _bare(m.tier_rank) == TIER_RANKS[Tier.USER],
        literal(where.status in (None, Status.ACTIVE)),
        others,
    )
    yield Way(Tier.USER, and_(m.uid.in_(shared), private))


def _bare(column: ColumnElement[_Type]) -> ColumnElement[_Type]:
    """Return the column as a value that no index leads to."""
    return func.coalesce(column, column)


def _filters(where: ModuleFilter) -> list[ColumnElement[bool]]:
    m = modules.c
    conditions: list[ColumnElement[bool]] = []
    if where.executable_only:
        conditions.append(m.live_version != "")
    if where.owner:
        conditions.append(m.owner == where.owner)
    if where.name_prefix:
        # Not LIKE: its case rules differ between databases.
        conditions.append(func.substr(m.name, 1, len(where.name_prefix)) == where.name_prefix)
    if where.text:
        if len(where.text) > MAX_TEXT_CHARACTERS:
            raise Invalid.field("text", f"is longer than {MAX_TEXT_CHARACTERS} characters")
        conditions.append(m.search_text.contains(fold(where.text), autoescape=True))
    return conditions


def _tier(tier: Tier | None) -> ColumnElement[bool]:
    # By its rank, which the indexes hold.
    return true() if tier is None else modules.c.tier_rank == TIER_RANKS[tier]


def _status(where: ModuleFilter) -> ColumnElement[bool]:
    if where.status is None:  # what was deleted shows only to those who ask for it
        return modules.c.status.in_(_LIVING)
    return modules.c.status == where.status.value
