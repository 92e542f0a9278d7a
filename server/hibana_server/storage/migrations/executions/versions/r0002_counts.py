"""Count executions by module, outcome, cache and duration, those that are there included."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0002"
down_revision = "r0001"

# Upper bounds of the buckets, nanoseconds; domain.numbers.BOUNDS_NS is the same list.
_BOUNDS = [*(step * 10**power for power in range(2, 11) for step in (10, 15, 20, 30, 50, 70)), 10**12]


def _bucket(column: str) -> str:
    cases = " ".join(f"WHEN {column} <= {bound} THEN {bucket}" for bucket, bound in enumerate(_BOUNDS[:-1]))
    return f"CASE {cases} ELSE {len(_BOUNDS) - 1} END"


_COUNT = f"""
    INSERT INTO execution_counts (module_uid, outcome, cache, bucket, count, last_time)
    VALUES (NEW.module_uid, coalesce(NEW.outcome, 'lost'), coalesce(NEW.cache, ''), {_bucket("NEW.execution_ns")},
            1, NEW.create_time)
    ON CONFLICT (module_uid, outcome, cache, bucket)
    DO UPDATE SET count = count + 1, last_time = max(last_time, excluded.last_time)
"""  # noqa: S608 - numbers and names of this file


def upgrade() -> None:
    """Create the table, fill it, and let triggers go on."""
    op.create_table(
        "execution_counts",
        sa.Column("module_uid", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("cache", sa.Text(), nullable=False),
        sa.Column("bucket", sa.SmallInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("last_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("module_uid", "outcome", "cache", "bucket", name="pk_execution_counts"),
    )
    op.execute(f"""
        INSERT INTO execution_counts (module_uid, outcome, cache, bucket, count, last_time)
        SELECT module_uid, coalesce(outcome, 'lost'), coalesce(cache, ''), {_bucket("execution_ns")} AS b,
               count(*), max(create_time)
        FROM executions WHERE state = 'done'
        GROUP BY 1, 2, 3, b
    """)  # noqa: S608 - numbers and names of this file
    op.execute(f"""
        CREATE TRIGGER count_stored AFTER INSERT ON executions WHEN NEW.state = 'done'
        BEGIN {_COUNT}; END
    """)
    op.execute(f"""
        CREATE TRIGGER count_ended AFTER UPDATE OF state ON executions
        WHEN OLD.state <> 'done' AND NEW.state = 'done'
        BEGIN {_COUNT}; END
    """)
