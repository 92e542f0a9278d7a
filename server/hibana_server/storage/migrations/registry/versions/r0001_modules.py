"""Create modules, their allow-lists and their versions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "modules",
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("tier_rank", sa.SmallInteger(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("search_text", sa.Text(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger()),
        sa.Column("timeout", sa.Float()),
        sa.Column("live_version", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("update_time", sa.BigInteger(), nullable=False),
        sa.Column("delete_time", sa.BigInteger()),
        sa.PrimaryKeyConstraint("uid", name="pk_modules"),
        sa.UniqueConstraint("tier", "namespace", "name", name="uq_modules_tier_namespace_name"),
    )
    op.create_index("ix_modules_tier_rank_create_time_uid", "modules", ["tier_rank", "create_time", "uid"])
    op.create_index("ix_modules_owner", "modules", ["owner"])
    op.create_table(
        "allowed_users",
        sa.Column("module_uid", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("module_uid", "subject", name="pk_allowed_users"),
        sa.ForeignKeyConstraint(["module_uid"], ["modules.uid"], name="fk_allowed_users_module_uid"),
    )
    op.create_index("ix_allowed_users_subject", "allowed_users", ["subject"])
    op.create_table(
        "versions",
        sa.Column("module_uid", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("facts", sa.LargeBinary(), nullable=False),
        sa.Column("creator", sa.Text(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("publish_time", sa.BigInteger()),
        sa.PrimaryKeyConstraint("module_uid", "version", name="pk_versions"),
        sa.ForeignKeyConstraint(["module_uid"], ["modules.uid"], name="fk_versions_module_uid"),
    )
    op.create_index("ix_versions_module_uid_create_time_version", "versions", ["module_uid", "create_time", "version"])
    op.create_index("ix_versions_sha256", "versions", ["sha256"])
