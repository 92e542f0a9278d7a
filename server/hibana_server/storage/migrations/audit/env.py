"""Entry point of Alembic; it executes this file."""

from __future__ import annotations

from hibana_server.storage.migrations.environment import run
from hibana_server.storage.sql.tables import audit_metadata

run(audit_metadata)
