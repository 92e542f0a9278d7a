"""Keep the caller's trace id with each execution. Rows that are there have none, and are not rewritten."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0003"
down_revision = "r0002"


def upgrade() -> None:
    """Add the column."""
    op.add_column("executions", sa.Column("trace_id", sa.Text(), nullable=False, server_default=sa.text("''")))
