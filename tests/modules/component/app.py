"""The interfaces of hibana:guest in Python."""

from __future__ import annotations

from pathlib import Path

import wit_world.exports
from componentize_py_types import Err
from text import Tally
from wit_world.exports.text import Found


class Text(wit_world.exports.Text):
    def greet(self, name: str) -> str:
        return f"Hello, {name}!"

    def count(self, words: list[str]) -> list[Found]:
        return [Found(word, words.count(word)) for word in dict.fromkeys(words)]

    def turn(self, data: bytes) -> bytes:
        return data[::-1]

    def parse(self, number: str) -> int:
        try:
            return int(number)
        except ValueError:
            raise Err(f"no number: {number}") from None

    def tallies(self, starts: list[int]) -> list[Tally]:
        return [Tally(start) for start in starts]


class Disk(wit_world.exports.Disk):
    def capitals(self, source: str, target: str) -> list[str]:
        try:
            text = Path(source).read_text(encoding="utf-8")
            Path(target).write_text(text.upper(), encoding="utf-8")
            return sorted(path.name for path in Path(target).parent.iterdir())
        except OSError as error:
            raise Err(str(error)) from None
