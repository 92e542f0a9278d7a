"""References and tiers of modules with each record, indexes of failures, and totals of what is kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0005"
down_revision = "r0004"

# What a record takes besides the bytes of its detail and failure: its other columns, and its place in the indexes.
# domain.history.RECORD_BYTES is the same number.
_RECORD_BYTES = 450


def _bytes(row: str) -> str:
    return f"{_RECORD_BYTES} + length({row}detail) + coalesce(length({row}failure), 0)"


_ADD = f"""
    INSERT INTO execution_totals (caller, module_uid, tier, outcome, count, bytes)
    VALUES (NEW.caller, NEW.module_uid, NEW.tier, coalesce(NEW.outcome, 'lost'), 1, {_bytes("NEW.")})
    ON CONFLICT (caller, module_uid, tier, outcome)
    DO UPDATE SET count = count + 1, bytes = bytes + excluded.bytes
"""  # noqa: S608 - names and numbers of this file
_TAKE_AWAY = f"""
    UPDATE execution_totals SET count = count - 1, bytes = bytes - ({_bytes("OLD.")})
    WHERE caller = OLD.caller AND module_uid = OLD.module_uid AND tier = OLD.tier
    AND outcome = coalesce(OLD.outcome, 'lost')
"""  # noqa: S608 - as above


def upgrade() -> None:
    """Add columns (rows that are there are not rewritten) and indexes, then count what is there."""
    op.add_column("executions", sa.Column("module_reference", sa.Text(), nullable=False, server_default=sa.text("''")))
    op.add_column("executions", sa.Column("tier", sa.Text(), nullable=False, server_default=sa.text("''")))
    op.add_column("executions", sa.Column("replay_of", sa.Text(), nullable=False, server_default=sa.text("''")))
    failed = sa.text("outcome <> 'ok'")
    for name, columns in (
        ("ix_executions_failed", ["outcome", "uid"]),
        ("ix_executions_caller_failed", ["caller", "outcome", "uid"]),
        ("ix_executions_module_failed", ["module_uid", "outcome", "uid"]),
    ):
        op.create_index(name, "executions", columns, sqlite_where=failed, postgresql_where=failed)
    op.create_table(
        "execution_totals",
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("module_uid", sa.Text(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "module_uid", "tier", "outcome", name="pk_execution_totals"),
    )
    op.create_index("ix_execution_totals_module_uid", "execution_totals", ["module_uid"])
    op.execute(f"""
        INSERT INTO execution_totals (caller, module_uid, tier, outcome, count, bytes)
        SELECT caller, module_uid, tier, coalesce(outcome, 'lost'), count(*), sum({_bytes("")})
        FROM executions WHERE state = 'done'
        GROUP BY 1, 2, 3, 4
    """)  # noqa: S608 - names and numbers of this file
    op.execute(f"""
        CREATE TRIGGER total_stored AFTER INSERT ON executions WHEN NEW.state = 'done'
        BEGIN {_ADD}; END
    """)
    op.execute(f"""
        CREATE TRIGGER total_ended AFTER UPDATE OF state ON executions
        WHEN OLD.state <> 'done' AND NEW.state = 'done'
        BEGIN {_ADD}; END
    """)
    op.execute(f"""
        CREATE TRIGGER total_removed AFTER DELETE ON executions WHEN OLD.state = 'done'
        BEGIN {_TAKE_AWAY}; END
    """)
