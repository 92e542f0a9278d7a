"""Which bytes a caller is known to have, so that the compiler may take a short cut for them."""

from __future__ import annotations

from hibana_server.domain.callers import Caller
from hibana_server.domain.ports import ModuleStore
from hibana_server.domain.tiers import Tier

MAX_KEPT = 4096


class OwnBytes:
    """Remembers who sent which bytes.

    Bytes that were compiled before need no second compile, and an answer that comes at once tells its
    caller so. That is for those who sent these bytes themselves (since the start, or as a version that is
    stored) and for admins, who see every module. Anybody else waits for a compile of their own: otherwise
    an upload, or an inspection that stores nothing, would tell whether another caller has these bytes.
    """

    def __init__(self, store: ModuleStore) -> None:
        self._store = store
        self._sent: dict[tuple[str, Tier, str], None] = {}

    async def known(self, caller: Caller, tier: Tier, sha256: str) -> bool:
        """Tell whether the caller may be answered as one who has these bytes. Raises Unavailable."""
        if caller.is_admin or (caller.subject, tier, sha256) in self._sent:
            return True
        return await self._store.owns_bytes(tier, caller.subject, sha256)

    def add(self, caller: Caller, tier: Tier, sha256: str) -> None:
        """Take note that the caller sent these bytes and they were compiled."""
        if len(self._sent) >= MAX_KEPT:
            del self._sent[next(iter(self._sent))]  # the oldest
        self._sent[caller.subject, tier, sha256] = None
