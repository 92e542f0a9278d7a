"""What `app` needs for API keys: who verifies them, who makes them, and who looks after them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hibana_server.app_tasks import end_task
from hibana_server.auth.api_keys import ApiKeySource
from hibana_server.auth.sources import TokenSource
from hibana_server.domain.api_keys import ApiKeyStore, KeyRules, KeyUses, RecentUses
from hibana_server.services.api_key_upkeep import ApiKeyUpkeep
from hibana_server.services.api_keys import ApiKeys
from hibana_server.settings.model import Settings


@asynccontextmanager
async def api_keys(
    settings: Settings, store: ApiKeyStore, uses: KeyUses
) -> AsyncIterator[tuple[ApiKeys, tuple[TokenSource, ...]]]:
    """Make what the Admin service calls, and the source of callers, none where keys are switched off."""
    recent, section = RecentUses(), settings.keys
    upkeep = ApiKeyUpkeep(store, uses, recent, keep=section.keep_seconds, sweep=settings.registry.sweep_seconds)
    looking_after = asyncio.create_task(upkeep.run())
    try:
        sources = (ApiKeySource(store, recent),) if section.enabled else ()
        yield ApiKeys(store, uses, recent, KeyRules(**section.rules())), sources
    finally:
        await end_task(looking_after)
