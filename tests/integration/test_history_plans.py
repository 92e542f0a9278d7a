"""How SQLite finds records of executions: by an index that leads to the newest, whatever is asked for."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.dialects import sqlite

from hibana_server.domain.executions import Outcome, State
from hibana_server.domain.ports import ExecutionFilter
from hibana_server.storage.data_dir import open_data_dir
from hibana_server.storage.migrate import upgrade
from hibana_server.storage.sql.execution_walks import walk
from hibana_server.storage.sql.tables import executions

BY_CALLER = "SEARCH executions USING INDEX ix_executions_caller_uid_version_function (caller=?)"
BY_MODULE = "SEARCH executions USING INDEX ix_executions_module_uid_uid_version_function (module_uid=?)"
ALL = "SCAN executions USING INDEX sqlite_autoindex_executions_1"
OPEN = "SCAN executions USING INDEX ix_executions_open"

WAYS = {
    "everything": (ExecutionFilter(), ALL),
    "caller": (ExecutionFilter(caller="a"), BY_CALLER),
    "module": (ExecutionFilter(module_uid="m"), BY_MODULE),
    "caller and module": (ExecutionFilter(caller="a", module_uid="m"), BY_CALLER),
    "version": (ExecutionFilter(version="1"), ALL),
    "function of a caller": (ExecutionFilter(caller="a", function="f"), BY_CALLER),
    "running": (ExecutionFilter(state=State.RUNNING), OPEN),
    "running of a caller": (ExecutionFilter(caller="a", state=State.RUNNING), OPEN),
    "ended well": (ExecutionFilter(caller="a", outcome=Outcome.OK), BY_CALLER),
    "failed": (
        ExecutionFilter(outcome=Outcome.TRAP),
        "SEARCH executions USING INDEX ix_executions_failed (outcome=?)",
    ),
    "failed of a caller": (
        ExecutionFilter(caller="a", outcome=Outcome.TRAP),
        "SEARCH executions USING INDEX ix_executions_caller_failed (caller=? AND outcome=?)",
    ),
    "failed of a module": (
        ExecutionFilter(module_uid="m", outcome=Outcome.TRAP),
        "SEARCH executions USING INDEX ix_executions_module_failed (module_uid=? AND outcome=?)",
    ),
    "all that failed": (ExecutionFilter(failed=True), "SCAN executions USING INDEX ix_executions_all_failed"),
    "all that failed of a caller": (
        ExecutionFilter(caller="a", failed=True),
        "SEARCH executions USING INDEX ix_executions_caller_all_failed (caller=?)",
    ),
    "all that failed of a module": (
        ExecutionFilter(module_uid="m", failed=True),
        "SEARCH executions USING INDEX ix_executions_module_all_failed (module_uid=?)",
    ),
    "a time": (
        ExecutionFilter(caller="a", created_after=5_000_000, created_before=9_000_000),
        "SEARCH executions USING INDEX ix_executions_caller_uid_version_function (caller=? AND uid>? AND uid<?)",
    ),
}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = open_data_dir(tmp_path_factory.mktemp("plans") / "data")
    upgrade(data_dir)
    return data_dir.executions_db


@pytest.mark.parametrize("name", WAYS)
def test_every_filter_is_walked_along_an_index_in_order(database: Path, name: str) -> None:
    where, expected = WAYS[name]
    query = select(executions.c.uid, executions.c.sha256).where(walk(where).matches)
    text = (
        query.order_by(executions.c.uid.desc())
        .limit(50)
        .compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    )
    with closing(sqlite3.connect(database)) as connection:
        steps = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}")]
    assert steps == [expected]  # no step that sorts
