"""How SQLite finds what lists show: by an index that leads to the place, however many modules there are.

Times would say the same on a quiet machine; the plan says it on any.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Select
from sqlalchemy.dialects import sqlite

from hibana_server.domain.modules import Status
from hibana_server.domain.ports import ModuleFilter
from hibana_server.domain.tiers import Tier
from hibana_server.storage.cursors import encode_cursor
from hibana_server.storage.data_dir import open_data_dir
from hibana_server.storage.migrate import upgrade
from hibana_server.storage.sql.module_lists import count_query, modules_query

ADMIN = ModuleFilter("root", viewer_is_admin=True)
ALICE = ModuleFilter("alice", viewer_is_admin=False)
CURSOR = encode_cursor("modules", 1, 5, "uid")
"""Behind a module of the user tier."""

PLACE = "AND (create_time,uid)<(?,?))"
OWN = f"SEARCH modules USING INDEX ix_modules_own (owner=? AND status=? AND tier_rank=? {PLACE}"
PUBLIC = f"SEARCH modules USING INDEX ix_modules_public (is_public=? AND status=? AND tier_rank=? {PLACE}"
SHARED = "SEARCH modules USING INDEX sqlite_autoindex_modules_1 (uid=?)"
ALLOWED = "SEARCH allowed_users USING INDEX ix_allowed_users_subject (subject=?)"

PAGES = {
    "admin": (
        ADMIN,
        ["SEARCH modules USING INDEX ix_modules_all (status=? AND (tier_rank,create_time,uid)<(?,?,?))"],
    ),
    "admin, one tier": (
        replace(ADMIN, tier=Tier.USER, status=Status.DISABLED),
        [f"SEARCH modules USING INDEX ix_modules_all (status=? AND tier_rank=? {PLACE}"],
    ),
    "admin, what may run": (replace(ADMIN, executable_only=True), [OWN, PUBLIC, SHARED, ALLOWED]),
    "user": (ALICE, [OWN, PUBLIC, SHARED, ALLOWED]),
    "user, own": (replace(ALICE, owner="alice"), [OWN]),
    "user, another's": (
        replace(ALICE, owner="bob"),
        [OWN, "SEARCH modules USING INDEX ix_modules_own (owner=?)", ALLOWED],
    ),
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = open_data_dir(tmp_path_factory.mktemp("plans") / "data")
    upgrade(data_dir)
    return data_dir.registry_db


def plan(file: Path, query: Select[*tuple[object, ...]]) -> list[str]:
    """Return how tables are searched, in order."""
    text = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    with closing(sqlite3.connect(file)) as connection:
        steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}")]
    # What a way gives is read and put in order once more: as many rows as a page has.
    return [step for step in steps if step.startswith(("SEARCH", "SCAN")) and "anon_" not in step]


@pytest.mark.parametrize("name", PAGES)
def test_every_way_into_a_list_leads_to_its_place(registry: Path, name: str) -> None:
    where, expected = PAGES[name]
    assert plan(registry, modules_query(where, 51, CURSOR)) == expected


@pytest.mark.parametrize(
    "where", [ADMIN, replace(ADMIN, tier=Tier.SYSTEM), ALICE, replace(ALICE, executable_only=True)]
)
def test_what_all_may_see_is_counted_in_the_index_alone(registry: Path, where: ModuleFilter) -> None:
    steps = [step for step in plan(registry, count_query(where)) if step.startswith("SEARCH modules")]
    assert steps
    assert all("USING COVERING INDEX" in step or step == SHARED for step in steps)


def test_behind_the_user_tier_no_other_is_looked_at(registry: Path) -> None:
    assert len(plan(registry, modules_query(ALICE, 51))) == 1 + len(plan(registry, modules_query(ALICE, 51, CURSOR)))
