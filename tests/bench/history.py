"""The newest page of executions with few and with very many records, bytes per record, and removing records.

`BENCH_RECORDS` sets the number of the large table, five million otherwise. Filling it takes minutes: where
`BENCH_HISTORY` names a directory, tables stay there, and `python -m tests.bench.history` fills them beforehand.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

from hibana_server.domain.executions import Outcome
from hibana_server.domain.history import Removed
from hibana_server.domain.ports import ExecutionFilter
from hibana_server.storage.data_dir import open_data_dir
from hibana_server.storage.migrate import upgrade
from hibana_server.storage.sql.execution_rows import execution_row
from hibana_server.storage.sql.tables import executions
from hibana_server.storage.sqlite.engine import connect
from hibana_server.storage.sqlite.executions import SqliteExecutionStore
from tests.contract.samples import a_begun, ended
from tests.framework.server import Server

SMALL = 5_000
LARGE = int(os.environ.get("BENCH_RECORDS", "5000000"))
CALLS = 40
FILTERS = {
    "all": ExecutionFilter(),
    "caller": ExecutionFilter(caller="caller-3"),
    "module": ExecutionFilter(module_uid="module-0000-0000-0000-000000000007"),
    "trapped": ExecutionFilter(outcome=Outcome.TRAP),
    "failed": ExecutionFilter(failed=True),
    "failed of a caller": ExecutionFilter(caller="caller-10", failed=True),
    "ended well": ExecutionFilter(outcome=Outcome.OK),
    "caller and function": ExecutionFilter(caller="caller-3", function="add"),
}


def measure(_: Server) -> dict[str, float]:
    """Return medians in milliseconds, their ratios, bytes, and records removed in a second."""
    figures: dict[str, float] = {}
    pages: dict[int, dict[str, float]] = {}
    for count in (SMALL, LARGE):
        with tempfile.TemporaryDirectory() as scratch:
            file = table(Path(os.environ.get("BENCH_HISTORY") or scratch), count)
            figures[f"{count} records: bytes per record"] = file.stat().st_size / count
            pages[count], removed = asyncio.run(_look(file))
            figures[f"{count} records: removed per second"] = removed
    for name in FILTERS:
        for count in pages:
            figures[f"newest page, {name}, {count} records ms"] = pages[count][name]
        figures[f"newest page, {name}: large / small"] = pages[LARGE][name] / pages[SMALL][name]
    return figures


def table(root: Path, count: int) -> Path:
    """Return a database with so many records, filled unless it is there."""
    data_dir = open_data_dir(root / str(count))
    if not data_dir.executions_db.exists():
        upgrade(data_dir)
        fill(data_dir.executions_db, count)
    return data_dir.executions_db


def fill(file: Path, count: int) -> None:
    """Put records of executions of small functions into a database: 50 callers, 20 modules, every tenth failed."""
    names = executions.columns.keys()
    sample = dict(zip(names, execution_row(ended(a_begun(), Outcome.OK)), strict=True))
    made = {
        "uid": "printf('%08x-%04x-7000-8000-%012x', 0x019a0000 + (n >> 16), n & 65535, n)",
        "module_uid": "printf('module-0000-0000-0000-%012d', n / 50 % 20)",
        "caller": "printf('caller-%d', n % 50)",
        "outcome": "CASE WHEN n % 10 = 0 THEN 'trap' ELSE 'ok' END",
        "create_time": "(0x019a00000000 + n) * 1000",
        "execution_ns": "1000 + n % 997 * 1000",
    }
    columns = ", ".join(made.get(name, "?") for name in names)
    values = [value for name, value in sample.items() if name not in made]
    numbers = f"WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {count})"
    with closing(connect(file, synchronous="NORMAL")) as connection:
        connection.execute("PRAGMA cache_size = -400000")
        connection.execute(
            f"INSERT INTO executions ({', '.join(names)}) {numbers} SELECT {columns} FROM numbers",
            values,
        )
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


async def _look(file: Path) -> tuple[dict[str, float], float]:
    store = SqliteExecutionStore(file)
    times: dict[str, float] = {}
    for name, where in FILTERS.items():
        taken = []
        for _ in range(CALLS):
            started = time.perf_counter()
            page = await store.list_executions(where, limit=50)
            taken.append((time.perf_counter() - started) * 1000)
            assert len(page.executions) == 50
        times[name] = statistics.median(taken)
    started, count, after = time.perf_counter(), 0, ""
    while count < SMALL // 2:
        step: Removed = await store.remove_records("user", after=after, before="g", enough=1 << 60)
        count, after = count + step.count, step.reached
    removed = count / (time.perf_counter() - started)
    await store.close()
    return times, removed


if __name__ == "__main__":
    for records in (SMALL, LARGE):
        table(Path(os.environ["BENCH_HISTORY"]), records)
