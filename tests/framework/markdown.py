"""Read the examples of a Markdown file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: examples in `sh` and `python` are run, those in `console` are only shown."""

    language: str
    text: str


def blocks(path: Path, *languages: str) -> list[Block]:
    """Return the blocks in these languages, in the order of the file."""
    found = [Block(match[1], match[2]) for match in _FENCED.finditer(path.read_text(encoding="utf-8"))]
    return [block for block in found if block.language in languages]


def pattern(expected: str) -> re.Pattern[str]:
    """Turn an output as it is shown into a pattern for the end of a real one.

    `...` stands for anything, and any run of white space for any other.
    """
    words = (re.escape(word).replace(re.escape("..."), ".*?") for word in expected.split())
    return re.compile(r"\s*".join(words) + r"\s*\Z", re.DOTALL)
