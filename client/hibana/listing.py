"""Lists that come in pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from google.protobuf.message import Message

T = TypeVar("T")
M = TypeVar("M", bound="Message")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list."""

    items: tuple[T, ...]
    next_page_token: str
    """Empty on the last page."""
    total_size: int
    """Items that match in all, on every page."""


class Listing(Generic[T]):
    """A list that is fetched page by page while it is read: `async for item in client.modules()`.

    `page(token)` fetches a single page, `pages()` runs through all of them.
    """

    def __init__(self, fetch: Callable[[str], Awaitable[Page[T]]]) -> None:
        self._fetch = fetch

    async def page(self, token: str = "") -> Page[T]:
        """Fetch the first page, or the one a page before named in `next_page_token`."""
        return await self._fetch(token)

    async def pages(self) -> AsyncIterator[Page[T]]:
        """Run through the pages."""
        token = ""
        while True:
            page = await self._fetch(token)
            yield page
            token = page.next_page_token
            if not token:
                return

    async def __aiter__(self) -> AsyncIterator[T]:
        """Run through the items of all pages."""
        async for page in self.pages():
            for item in page.items:
                yield item


def next_page(request: M, token: str) -> M:
    """Return a copy of a list request that asks for the page of a token: pages may be fetched side by side."""
    copy = type(request)()
    copy.CopyFrom(request)
    setattr(copy, "page_token", token)  # noqa: B010 - a field of every list request, of no common type
    return copy
