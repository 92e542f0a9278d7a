"""Run revisions on a connection that the caller gives; what Alembic calls env.py."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, MetaData

CONNECTION = "connection"
"""Name of the open connection among the attributes of Alembic's configuration."""


def run(metadata: MetaData) -> None:
    """Bring the database of the configured connection to the revision asked for, in one transaction."""
    connection = context.config.attributes[CONNECTION]
    if not isinstance(connection, Connection):
        raise TypeError("Revisions run on an open connection only; use storage.migrate.")
    context.configure(
        connection=connection,
        target_metadata=metadata,
        # SQLite's DDL is transactional once the driver begins transactions as told.
        transactional_ddl=True,
        render_as_batch=True,  # SQLite alters a table by copying it
    )
    with context.begin_transaction():
        context.run_migrations()
