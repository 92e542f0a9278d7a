"""The interface hibana:guest/text in Python."""

from __future__ import annotations

import wit_world.exports
from componentize_py_types import Err
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
