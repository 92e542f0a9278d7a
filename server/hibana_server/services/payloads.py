"""Input and output that are larger than a record holds: kept whole beside it, under their digest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import structlog

from hibana_server.domain.errors import DataLoss, HibanaError
from hibana_server.domain.executions import Execution, stands_for
from hibana_server.domain.ports import BlobStore
from hibana_server.services.digest_locks import DigestLocks

_PIECE = 1 << 20

log = structlog.get_logger("hibana.executions")


class Payloads:
    """Keeps content for records and finds it again. What no record names any more is removed by `services/unnamed.py`.

    A record is worth more than its payload: content that cannot be written is left out, and the record keeps its head,
    size and digest.
    """

    def __init__(self, blobs: BlobStore, locks: DigestLocks, max_bytes: int) -> None:
        self._blobs = blobs
        self._locks = locks
        self.max_bytes = max_bytes
        """Largest content that is kept; 0 keeps none."""

    @asynccontextmanager
    async def kept(self, contents: Mapping[str, bytes]) -> AsyncIterator[tuple[str, ...]]:
        """Store content by its digest and give the digests that are there; leave when the row that names them is.

        Nobody removes them in between.
        """
        async with AsyncExitStack() as held:
            there = []
            for sha256 in sorted(contents):  # in one order, so that two records never wait for each other
                await held.enter_async_context(self._locks.hold(sha256))
                try:
                    await self._put(sha256, contents[sha256])
                except HibanaError as error:
                    log.warning("payload_not_kept", sha256=sha256, error=str(error))
                else:
                    there.append(sha256)
            yield tuple(there)

    async def whole(self, record: Execution) -> Execution:
        """Return a record with all of its input and output, as far as they are kept. Raises Unavailable."""
        given, output = record.input, record.output
        stdin = await self._read(record, given.stdin, given.stdin_size, given.stdin_sha256)
        stdout = await self._read(record, output.stdout, output.stdout_size, output.stdout_sha256)
        stderr = await self._read(record, output.stderr, output.stderr_size, output.stderr_sha256)
        arguments = await self._text(record, given.arguments_json)
        results = await self._text(record, output.results_json)
        held = (given.stdin, output.stdout, output.stderr, given.arguments_json, output.results_json)
        if (stdin, stdout, stderr, arguments, results) == held:
            return record
        return replace(
            record,
            input=replace(given, stdin=stdin, arguments_json=arguments),
            output=replace(output, stdout=stdout, stderr=stderr, results_json=results),
        )

    async def _put(self, sha256: str, content: bytes) -> None:
        if await self._blobs.exists(sha256):
            return
        async with self._blobs.stage() as staged:
            for start in range(0, len(content), _PIECE):
                await staged.write(content[start : start + _PIECE])
            await staged.finish()
            await staged.commit()

    async def _text(self, record: Execution, text: str) -> str:
        """Return JSON text where it is kept, and what stands for it where it is not."""
        named = stands_for(text)
        if named is None:
            return text
        return (await self._read(record, b"", *named)).decode() or text

    async def _read(self, record: Execution, head: bytes, size: int, sha256: str) -> bytes:
        if len(head) >= size or sha256 not in record.payloads:
            return head
        try:
            return b"".join([chunk async for chunk in self._blobs.read(sha256)])
        except DataLoss:
            log.warning("payload_lost", execution=record.uid, sha256=sha256)
            return head
