"""The head of a list, or all of it."""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar

import hibana
from hibana.cli import output
from hibana.errors import HibanaError

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


async def stream(listing: hibana.Listing[T], token: str, bound: str = "") -> None:
    """Print all items from the page of a token on, one JSON object to a line; holds one page at a time.

    Where it is cut off, a note says how to go on; `bound` is what the caller has to say with the token besides the
    filters it gave.
    """
    try:
        while True:
            page = await listing.page(token)
            for item in page.items:
                output.print_json(item)
            token = page.next_page_token
            if not token:
                return
    except (HibanaError, KeyboardInterrupt, OSError):
        if token:
            output.print_note(f"cut off; go on with the same filters and{bound} --page-token {token}")
        raise


def times_again(after: datetime | None, before: datetime | None) -> str:
    """Spell the options that bound a list by the same times again: a token holds for the same filters only."""
    bounds = {"--since": after, "--until": before}
    return "".join(f" {option} {time.isoformat()}" for option, time in bounds.items() if time)
