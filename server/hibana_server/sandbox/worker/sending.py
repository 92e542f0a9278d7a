"""Long strings and bytes of a result, on their way to the front in pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hibana_server.sandbox.frames import OUTPUT_PIECE, Bulk


def send_bulk(send: Callable[[Bulk], None], pieces: Iterable[bytes]) -> None:
    """Send them in order."""
    for piece in pieces:
        for start in range(0, len(piece), OUTPUT_PIECE):
            send(Bulk(piece[start : start + OUTPUT_PIECE]))
