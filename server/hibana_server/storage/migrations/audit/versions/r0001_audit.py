"""Create the audit log: entries that never change, and the state of their chains."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "r0001"
down_revision = None

_TRIGGERS = {
    "audit_entries_stay_as_they_are BEFORE UPDATE ON audit_entries": "",
    "audit_entries_stay BEFORE DELETE ON audit_entries": """
        WHEN OLD.sequence > coalesce((SELECT cut FROM audit_chains WHERE kind = OLD.kind), 0)""",
    # Also against REPLACE, which deletes without a trigger of deletions.
    "audit_entries_come_behind BEFORE INSERT ON audit_entries": """
        WHEN NEW.sequence <= coalesce((SELECT sequence FROM audit_chains WHERE kind = NEW.kind), 0)
            OR EXISTS (SELECT 1 FROM audit_entries WHERE uid = NEW.uid)
            OR EXISTS (SELECT 1 FROM audit_entries WHERE kind = NEW.kind AND sequence = NEW.sequence)""",
    "audit_chains_grow BEFORE UPDATE ON audit_chains": """
        WHEN NEW.kind <> OLD.kind OR NEW.sequence < OLD.sequence OR NEW.cut < OLD.cut OR NEW.cut > NEW.sequence""",
    "audit_chains_come_once BEFORE INSERT ON audit_chains": """
        WHEN EXISTS (SELECT 1 FROM audit_chains WHERE kind = NEW.kind)""",
    "audit_chains_stay BEFORE DELETE ON audit_chains": "",
}
"""What each trigger refuses."""
_NEVER = "BEGIN SELECT RAISE(ABORT, 'entries of the audit log never change'); END"


def upgrade() -> None:
    """Create the tables, the indexes and the triggers."""
    texts = ("subject", "role", "source", "peer", "request_id", "action", "resource")
    more_texts = ("reference", "reason", "detail", "before", "after")
    op.create_table(
        "audit_entries",
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("time", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in (*texts, *more_texts)),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("last_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("uid", name="pk_audit_entries"),
        sa.UniqueConstraint("kind", "sequence", name="uq_audit_entries_kind_sequence"),
    )
    for name in ("subject", "action", "resource", "kind"):
        op.create_index(f"ix_audit_entries_{name}_uid", "audit_entries", [name, "uid"])
    op.create_table(
        "audit_chains",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("cut", sa.BigInteger(), nullable=False),
        sa.Column("cut_hash", sa.LargeBinary(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("seal", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("kind", name="pk_audit_chains"),
    )
    for trigger, when in _TRIGGERS.items():
        op.execute(f"CREATE TRIGGER {trigger} {when} {_NEVER}")
