"""What looking after the registry needs of its stores, besides `domain.ports`: nothing a call asks for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import Protocol

from hibana_server.domain.history import Removed
from hibana_server.domain.words import Word


class BlobState(Word):
    """How stored bytes were found."""

    SOUND = "sound"
    MISSING = "missing"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """What a version's row says about its bytes."""

    module_uid: str
    version: str
    sha256: str
    size: int


class ModuleUpkeep(Protocol):
    """The registry's rows, as those see them who look after it. Every method may raise Unavailable."""

    async def purge(self, before: int) -> int:
        """Remove the modules that were deleted before this time (microseconds) for good and return how many.

        Labels and digests of their versions stay taken under their names. Each module goes in one
        transaction; one that is undeleted meanwhile stays.
        """

    async def forget_requests(self, before: int) -> int:
        """Remove the answers of requests that came before this time and return how many."""

    async def referenced(self, digests: Collection[str]) -> set[str]:
        """Return those of these digests that a version names."""

    def stored_versions(self) -> AsyncIterator[StoredVersion]:
        """Yield every version, in no special order, a batch at a time."""

    async def without_their_live_version(self) -> list[str]:
        """Return the uids of modules whose live version has no row, or was never published; at most 1000."""


class RecordUpkeep(Protocol):
    """Records of executions, as those see them who remove what is past its time. Every method may raise Unavailable."""

    async def remove_records(self, tier: str, *, after: str, before: str, enough: int) -> Removed:
        """Remove records of a tier that are DONE, oldest first, in one short transaction, and tell how far it came.

        Only uids between `after` and `before` (both exclusive) are looked at, and only some of them; it ends early
        when records of `enough` bytes are removed. What only they referred to goes with them.
        """

    async def record_bytes(self) -> dict[str, int]:
        """Return about how many bytes the records of each tier take; an empty tier is that of old releases."""


class BlobUpkeep(Protocol):
    """Stored bytes, as those see them who look after them. Every method may raise Unavailable."""

    def digests(self) -> AsyncIterator[str]:
        """Yield the digest of everything that is stored."""

    async def check(self, sha256: str, size: int | None = None) -> BlobState:
        """Read stored bytes and tell whether they match their digest, and this size; changes nothing."""

    async def remove(self, sha256: str) -> None:
        """Remove stored bytes; harmless when they are gone. What reads them already reads them to the end."""
