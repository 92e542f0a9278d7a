"""Text that came from guests, callers or modules, made fit to show."""

from __future__ import annotations

import unicodedata


def clean(text: str, limit: int = 256) -> str:
    """Drop control, format and surrogate characters and cut to `limit` characters.

    Format characters go too: bidirectional overrides and zero-width ones make names look like others.
    """
    if len(text) > limit * 4:
        text = text[: limit * 4]
    if not (text.isascii() and text.isprintable()):
        text = "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp"))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def cut_utf8(text: str, limit: int) -> str:
    """Cut text to at most `limit` bytes of UTF-8 without splitting a character."""
    data = text.encode("utf-8", "replace")
    return data.decode() if len(data) <= limit else data[: limit - 3].decode("utf-8", "ignore") + "…"
