"""Sizes of what is kept beside records, totals of them by tier, and indexes that answer filters without the rows."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "r0006"
down_revision = "r0005"

_ADD = """
    INSERT INTO tier_payloads (tier, sha256, bytes, records)
    SELECT NEW.tier, digest.value, coalesce(size.value, 0), 1
    FROM json_each(NEW.payloads) AS digest LEFT JOIN json_each(NEW.payload_sizes) AS size ON size.key = digest.key
    WHERE true
    ON CONFLICT (tier, sha256) DO UPDATE SET records = records + 1, bytes = max(bytes, excluded.bytes)
"""
_TAKE_AWAY = """
    UPDATE tier_payloads SET records = records - 1
    WHERE tier = OLD.tier AND sha256 IN (SELECT value FROM json_each(OLD.payloads));
    DELETE FROM tier_payloads
    WHERE tier = OLD.tier AND sha256 IN (SELECT value FROM json_each(OLD.payloads)) AND records <= 0
"""


def upgrade() -> None:
    """Add the column and the table, read the sizes of what is there from the records, and build the indexes."""
    op.add_column("executions", sa.Column("payload_sizes", sa.Text()))
    op.create_table(
        "tier_payloads",
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tier", "sha256", name="pk_tier_payloads"),
    )
    op.execute(f"""
        CREATE TRIGGER payload_sizes_stored AFTER INSERT ON executions WHEN NEW.payloads IS NOT NULL
        BEGIN {_ADD}; END
    """)
    op.execute(f"""
        CREATE TRIGGER payload_sizes_changed AFTER UPDATE OF payloads ON executions
        WHEN NEW.payloads IS NOT OLD.payloads
        BEGIN {_TAKE_AWAY}; {_ADD}; END
    """)
    op.execute(f"""
        CREATE TRIGGER payload_sizes_removed AFTER DELETE ON executions WHEN OLD.payloads IS NOT NULL
        BEGIN {_TAKE_AWAY}; END
    """)
    _fill()
    op.drop_index("ix_executions_caller_uid", "executions")
    op.drop_index("ix_executions_module_uid_uid", "executions")
    failed = sa.text("outcome <> 'ok'")
    for name in ("caller", "module_uid"):
        columns = [name, "uid", "version", "function"]
        op.create_index(f"ix_executions_{name}_uid_version_function", "executions", columns)
        short = name.removesuffix("_uid")
        op.create_index(
            f"ix_executions_{short}_all_failed",
            "executions",
            columns,
            sqlite_where=failed,
            postgresql_where=failed,
        )
    op.create_index("ix_executions_all_failed", "executions", ["uid"], sqlite_where=failed, postgresql_where=failed)


def _fill() -> None:
    """Tell the sizes of what records keep beside them; few do."""
    connection = op.get_bind()
    columns = sa.text("SELECT uid, tier, payloads, detail FROM executions WHERE uid = :uid AND payloads IS NOT NULL")
    uids = [uid for (uid,) in connection.execute(sa.text("SELECT DISTINCT uid FROM execution_payloads"))]
    for uid in uids:
        for _, tier, payloads, detail in connection.execute(columns, {"uid": uid}).all():
            digests: list[str] = json.loads(payloads)
            sizes = _sizes(detail)
            told = [sizes.get(digest, 0) for digest in digests]
            connection.execute(
                sa.text("UPDATE executions SET payload_sizes = :sizes WHERE uid = :uid"),
                {"sizes": json.dumps(told, separators=(",", ":")), "uid": uid},
            )
            for digest, size in zip(digests, told, strict=True):
                connection.execute(
                    sa.text(
                        "INSERT INTO tier_payloads (tier, sha256, bytes, records) VALUES (:tier, :digest, :size, 1) "
                        "ON CONFLICT (tier, sha256) DO UPDATE SET records = records + 1, bytes = max(bytes, :size)"
                    ),
                    {"tier": tier, "digest": digest, "size": size},
                )


def _sizes(detail: bytes) -> dict[str, int]:
    """Return the sizes that a record's detail tells, by digest."""
    whole: dict[str, Any] = msgspec.msgpack.decode(detail)
    given, output = whole.get("input", {}), whole.get("output", {})
    found = ((part, name) for part, names in ((given, ("stdin",)), (output, ("stdout", "stderr"))) for name in names)
    return {part[f"{name}_sha256"]: part[f"{name}_size"] for part, name in found if part.get(f"{name}_sha256")}
