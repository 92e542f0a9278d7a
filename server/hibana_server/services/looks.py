"""What admins do to, and read of, what belongs to somebody else."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from hibana_server.domain.audit import SERVICE, Entry, Kind
from hibana_server.domain.callers import Caller
from hibana_server.services.audit import AuditLog

_RECENT = 256
"""Looks that are known, so that one call that reads something twice is told once."""

MakeEntry = Callable[[Kind, str, str], Entry]
"""Makes an entry about the call that is being served: kind, resource, detail."""


class Looks:
    """Tells the audit log of them. Whoever handles what is their own is not told of."""

    def __init__(self, log: AuditLog, entry: MakeEntry) -> None:
        self._log = log
        self._entry = entry
        self._recent: OrderedDict[tuple[str, str], None] = OrderedDict()

    def read(self, caller: Caller, resource: str, owner: str) -> None:
        """Note that a caller reads what belongs to `owner`, once for each call."""
        if caller.subject == owner:
            return
        entry = self._entry(Kind.READ, resource, f"it belongs to {owner}" if owner else "")
        key = (entry.request_id, resource)
        if entry.source == SERVICE.source or key in self._recent:
            return
        self._recent[key] = None
        if len(self._recent) > _RECENT:
            self._recent.popitem(last=False)
        self._log.note(Kind.READ, (caller.subject, entry.action), lambda: entry)

    async def change(self, caller: Caller, resource: str, owner: str) -> None:
        """Tell of a change that no transaction of the registry makes; it is stored when this returns.

        Raises Unavailable.
        """
        if caller.subject != owner:
            await self._log.append(self._entry(Kind.CHANGE, resource, f"it belongs to {owner}"))
