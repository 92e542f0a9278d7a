"""How large each memory of a component may get, so that all of them together stay within a call's limit."""

from __future__ import annotations

from hibana_server.sandbox.frames import Component

PAGE_BYTES = 64 * 1024


def component(memories: tuple[int, ...], limit: int) -> Component:
    """Return the bounds of one instance with memories that declare these maxima, in pages.

    The engine has one bound for every memory. It is the highest with which their sum cannot pass the limit: a memory
    that declares less leaves the rest to the others, those that declare more have the same share.
    """
    left, count = limit // PAGE_BYTES, len(memories)
    for index, maximum in enumerate(sorted(memories)):
        share = left // (count - index)
        if maximum > share:
            return Component(count, share * PAGE_BYTES)
        left -= maximum
    return Component(count, limit)
