"""Keep API keys, of each a hash of its secret."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0005"
down_revision = "r0004"


def upgrade() -> None:
    """Create the table and its indexes."""
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("creator", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("expire_time", sa.BigInteger(), nullable=False),
        sa.Column("revoke_time", sa.BigInteger()),
        sa.Column("end_time", sa.BigInteger(), nullable=False),
        sa.Column("request_id", sa.Text()),
        sa.Column("request_digest", sa.LargeBinary()),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("creator", "request_id", name="uq_api_keys_creator_request_id"),
    )
    op.create_index("ix_api_keys_subject_create_time_id", "api_keys", ["subject", "create_time", "id"])
    op.create_index("ix_api_keys_create_time_id", "api_keys", ["create_time", "id"])
    op.create_index("ix_api_keys_end_time", "api_keys", ["end_time"])
