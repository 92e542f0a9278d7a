"""Compare every row with its bytes, and every bytes with the rows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from hibana_server.domain.upkeep import BlobState, BlobUpkeep, ModuleUpkeep
from hibana_server.domain.words import Word

_BATCH = 500


class Kind(Word):
    """What is wrong."""

    MISSING = "missing"
    """A version's bytes are gone."""
    DAMAGED = "damaged"
    """A version's bytes have another digest or size."""
    UNNAMED = "unnamed"
    """No version names these bytes: an upload that was cut off, or a version deleted a moment ago. No harm."""
    NO_LIVE_VERSION = "no_live_version"
    """A module's live version does not exist, or was never published."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong."""

    kind: Kind
    name: str
    """`modules/UID/versions/VERSION`, `modules/UID`, or a digest."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How much was looked at so far, and what was wrong with the last of it."""

    versions: int
    blobs: int
    problem: Problem | None = None


async def verify(modules: ModuleUpkeep, blobs: BlobUpkeep) -> AsyncIterator[Progress]:
    """Look at everything: yields after each version and with each problem, and last. Raises Unavailable.

    Changes nothing. Bytes that several versions share are read once. On a live server, what is
    uploaded or deleted meanwhile may be left out or be told as UNNAMED.
    """
    states: dict[tuple[str, int], BlobState] = {}
    versions = 0
    async for stored in modules.stored_versions():
        versions += 1
        named = (stored.sha256, stored.size)
        if named not in states:
            states[named] = await blobs.check(*named)
        state = states[named]
        if state is not BlobState.SOUND:
            name = f"modules/{stored.module_uid}/versions/{stored.version}"
            yield Progress(versions, len(states), Problem(Kind(state.value), name))
        else:
            yield Progress(versions, len(states))
    for uid in await modules.without_their_live_version():
        yield Progress(versions, len(states), Problem(Kind.NO_LIVE_VERSION, f"modules/{uid}"))
    known = {digest for digest, _ in states}
    unknown = [digest async for digest in blobs.digests() if digest not in known]
    for start in range(0, len(unknown), _BATCH):
        batch = unknown[start : start + _BATCH]
        for digest in sorted(set(batch) - await modules.referenced(batch)):
            yield Progress(versions, len(states), Problem(Kind.UNNAMED, digest))
    yield Progress(versions, len(states) + len(unknown))
