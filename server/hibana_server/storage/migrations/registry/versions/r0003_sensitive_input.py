"""Let a module keep its callers' input out of their records. Rows that are there are not rewritten."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0003"
down_revision = "r0002"


def upgrade() -> None:
    """Add the column."""
    op.add_column("modules", sa.Column("sensitive_input", sa.Boolean()))
