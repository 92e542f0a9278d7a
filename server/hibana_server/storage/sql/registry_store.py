"""What every store over the registry's database stands on."""

from __future__ import annotations

from collections.abc import Callable

from hibana_server.storage.sql.audit_outbox import AuditNotes
from hibana_server.storage.sql.database import Database


class RegistryStore:
    """The database, its change counter, and the notes that each change leaves for the audit log.

    Read `generation()` before the rows that are kept under it, never after.
    """

    def __init__(self, database: Database, generation: Callable[[], int], notes: AuditNotes) -> None:
        self._database = database
        self.generation = generation
        """Returns a number that changes whenever any process committed a change."""
        self._notes = notes
