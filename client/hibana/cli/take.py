"""The head of a list."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import hibana

T = TypeVar("T")


LARGEST_PAGE = 500
"""What the contract allows."""


def page_size(limit: int) -> int:
    """Return the size of pages for which `limit` items (0: all) take the fewest calls."""
    return min(limit, LARGEST_PAGE) if limit else LARGEST_PAGE


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


async def take_where(listing: hibana.Listing[T], wanted: Callable[[T], bool], limit: int) -> tuple[list[T], int]:
    """Return at most `limit` items (0: all) that are wanted, and how many they are; reads on until there are enough."""
    items: list[T] = []
    async for page in listing.pages():
        items += [item for item in page.items if wanted(item)]
        if limit and len(items) >= limit:
            items = items[:limit]
            break
    return items, len(items)
