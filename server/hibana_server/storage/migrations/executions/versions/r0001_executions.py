"""Create the records of executions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0001"
down_revision = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "executions",
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("module_uid", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("function", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text()),
        sa.Column("cache", sa.Text()),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("start_time", sa.BigInteger()),
        sa.Column("end_time", sa.BigInteger()),
        sa.Column("execution_ns", sa.BigInteger(), nullable=False),
        sa.Column("cpu_ns", sa.BigInteger(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("limit_memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("limit_timeout", sa.Float(), nullable=False),
        sa.Column("limit_output_bytes", sa.BigInteger(), nullable=False),
        sa.Column("failure", sa.LargeBinary()),
        sa.Column("detail", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("uid", name="pk_executions"),
    )
    op.create_index("ix_executions_caller_uid", "executions", ["caller", "uid"])
    op.create_index("ix_executions_module_uid_uid", "executions", ["module_uid", "uid"])
    is_open = sa.text("state <> 'done'")
    op.create_index("ix_executions_open", "executions", ["uid"], sqlite_where=is_open, postgresql_where=is_open)
