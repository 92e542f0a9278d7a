"""Leases of processes, ids of calls that are answered again, and what is kept beside records."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0004"
down_revision = "r0003"

_REFER = """
    INSERT INTO execution_payloads (sha256, uid) SELECT value, NEW.uid FROM json_each(NEW.payloads) WHERE true
    ON CONFLICT DO NOTHING
"""
_RELEASE = """
    DELETE FROM execution_payloads
    WHERE uid = OLD.uid AND sha256 IN (SELECT value FROM json_each(OLD.payloads))
"""


def upgrade() -> None:
    """Add columns (rows that are there are not rewritten), tables, and the triggers that keep references."""
    op.add_column("executions", sa.Column("holder", sa.Text(), nullable=False, server_default=sa.text("''")))
    op.add_column("executions", sa.Column("requested", sa.LargeBinary()))
    op.add_column("executions", sa.Column("payloads", sa.Text()))
    answered = sa.text("requested IS NOT NULL")
    op.create_index(
        "ix_executions_requested",
        "executions",
        ["caller", "request_id"],
        sqlite_where=answered,
        postgresql_where=answered,
    )
    op.create_table(
        "leases",
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("holder", name="pk_leases"),
    )
    op.create_table(
        "execution_payloads",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", "uid", name="pk_execution_payloads"),
    )
    op.execute(f"""
        CREATE TRIGGER payloads_stored AFTER INSERT ON executions WHEN NEW.payloads IS NOT NULL
        BEGIN {_REFER}; END
    """)
    op.execute(f"""
        CREATE TRIGGER payloads_changed AFTER UPDATE OF payloads ON executions
        WHEN NEW.payloads IS NOT OLD.payloads AND NEW.payloads IS NOT NULL
        BEGIN {_REFER}; END
    """)
    op.execute(f"""
        CREATE TRIGGER payloads_removed AFTER DELETE ON executions WHEN OLD.payloads IS NOT NULL
        BEGIN {_RELEASE}; END
    """)
