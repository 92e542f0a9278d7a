"""Keep what deleting must not lose and the answers of requests; index every way into a list."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0002"
down_revision = "r0001"

_KEY = ["status", "tier_rank", "create_time", "uid"]


def upgrade() -> None:
    """Create the tables and replace the indexes."""
    op.create_table(
        "tombstones",
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tier", "namespace", "name", "version", name="pk_tombstones"),
    )
    op.create_table(
        "requests",
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "request_id", name="pk_requests"),
    )
    op.create_index("ix_requests_time", "requests", ["time"])
    op.add_column("modules", sa.Column("status_before", sa.Text()))
    op.drop_index("ix_modules_tier_rank_create_time_uid", "modules")
    op.drop_index("ix_modules_owner", "modules")
    op.create_index("ix_modules_all", "modules", [*_KEY, "live_version"])
    op.create_index("ix_modules_own", "modules", ["owner", *_KEY, "live_version"])
    op.create_index("ix_modules_public", "modules", ["is_public", *_KEY, "owner", "live_version"])
