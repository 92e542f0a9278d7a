"""Finds out, after the answer, whether what a caller was told is not there was hidden from it.

The call itself does not read what is hidden: that takes the work of what is unknown. So it is looked up here, in the
background and for few calls a minute, and only the audit log is told.
"""

from __future__ import annotations

from dataclasses import replace

from hibana_server.domain.audit import Entry
from hibana_server.domain.audit_changes import module_reference
from hibana_server.domain.errors import Invalid
from hibana_server.domain.ports import ExecutionStore, ModuleStore
from hibana_server.domain.references import UID, parse

_EXECUTIONS = "executions/"


class Hidden:
    """Looks at the executions and versions that refused callers had asked for."""

    def __init__(self, modules: ModuleStore, records: ExecutionStore) -> None:
        self._modules = modules
        self._records = records

    async def resolve(self, entry: Entry) -> Entry | None:
        """Return the entry with why it was hidden; None where there was nothing. Raises Unavailable."""
        if entry.resource.startswith(_EXECUTIONS):
            return await self._record(entry, entry.resource.removeprefix(_EXECUTIONS))
        return await self._version(entry)

    async def _record(self, entry: Entry, uid: str) -> Entry | None:
        record = await self._records.get(uid) if UID.match(uid) else None
        if record is None or record.caller == entry.subject:
            return None
        return replace(entry, reference=record.module_reference, detail=f"it belongs to {record.caller}")

    async def _version(self, entry: Entry) -> Entry | None:
        try:
            asked = parse(entry.resource)
        except Invalid:
            return None
        module = await self._modules.get(asked.uid)
        version = await self._modules.get_version(asked.uid, asked.version)
        if module is None or version is None or version.create_time > entry.time:
            return None
        return replace(
            entry, reference=module_reference(module, asked.version), detail="the version was never published"
        )
