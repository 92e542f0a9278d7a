"""Which modules a caller may see in lists, as SQL conditions.

The same rules as the service's access decisions, once more as a query: a list cannot ask for every row.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, exists, func, or_, true

from hibana_server.domain.errors import Invalid
from hibana_server.domain.modules import Status
from hibana_server.domain.ports import ModuleFilter
from hibana_server.domain.tiers import Tier
from hibana_server.storage.sql.module_rows import fold
from hibana_server.storage.sql.tables import allowed_users, modules

MAX_TEXT_CHARACTERS = 1000
"""Longest text to search for; SQLite refuses patterns of 50,000 bytes."""


def listed(where: ModuleFilter) -> ColumnElement[bool]:
    """Return the condition of a row to be listed. Raises Invalid for a text that is too long."""
    m = modules.c
    conditions = [visible(where)]
    if where.executable_only:
        conditions += [executable(where), m.status == Status.ACTIVE.value, m.live_version != ""]
    if where.tier is not None:
        conditions.append(m.tier == where.tier.value)
    if where.owner:
        conditions.append(m.owner == where.owner)
    if where.status is not None:
        conditions.append(m.status == where.status.value)
    else:  # what was deleted shows only to those who ask for it
        conditions.append(m.status != Status.DELETED.value)
    if where.name_prefix:
        # Not LIKE: its case rules differ between databases.
        conditions.append(func.substr(m.name, 1, len(where.name_prefix)) == where.name_prefix)
    if where.text:
        if len(where.text) > MAX_TEXT_CHARACTERS:
            raise Invalid.field("text", f"is longer than {MAX_TEXT_CHARACTERS} characters")
        conditions.append(m.search_text.contains(fold(where.text), autoescape=True))
    return and_(*conditions)


def visible(where: ModuleFilter) -> ColumnElement[bool]:
    """Return who sees what: admins everything, owners their own, others what is active and theirs to run."""
    if where.viewer_is_admin:
        return true()
    own = and_(modules.c.tier == Tier.USER.value, modules.c.owner == where.viewer)
    return or_(own, and_(modules.c.status == Status.ACTIVE.value, executable(where)))


def executable(where: ModuleFilter) -> ColumnElement[bool]:
    """Return whom a module's tier, owner and allow-list let execute it, whatever its status."""
    m = modules.c
    allowed = exists().where(allowed_users.c.module_uid == m.uid, allowed_users.c.subject == where.viewer)
    by_user_tier = and_(m.tier == Tier.USER.value, or_(m.owner == where.viewer, m.is_public, allowed))
    open_tiers = [Tier.SYSTEM.value, Tier.ADMIN.value] if where.viewer_is_admin else [Tier.SYSTEM.value]
    return or_(m.tier.in_(open_tiers), by_user_tier)
