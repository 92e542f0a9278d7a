"""Keep quotas that differ from the defaults, and sum up a subject's bytes without reading what versions export."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0004"
down_revision = "r0003"


def upgrade() -> None:
    """Create the table and the index."""
    op.create_table(
        "quotas",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("max_modules", sa.BigInteger()),
        sa.Column("max_total_bytes", sa.BigInteger()),
        sa.Column("max_versions_per_module", sa.BigInteger()),
        sa.Column("max_requests_per_minute", sa.BigInteger()),
        sa.Column("max_cpu_per_minute", sa.Float()),
        sa.Column("max_concurrent_executions", sa.BigInteger()),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_quotas"),
    )
    op.create_index("ix_quotas_revision", "quotas", ["revision"])
    op.create_index("ix_versions_module_uid_size", "versions", ["module_uid", "size"])
