"""The head of a list."""

from __future__ import annotations

from typing import TypeVar

import hibana

T = TypeVar("T")


async def take(listing: hibana.Listing[T], limit: int) -> tuple[list[T], int]:
    """Return at most `limit` items (0: all) and how many match in all; fetches no page more than needed."""
    items: list[T] = []
    total = 0
    async for page in listing.pages():
        items += page.items
        total = page.total_size
        if limit and len(items) >= limit:
            break
    return (items[:limit] if limit else items), total
