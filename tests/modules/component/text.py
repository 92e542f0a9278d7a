"""Classes of the interface hibana:guest/text, where componentize-py looks for them: in a module of its name."""

from __future__ import annotations

import wit_world.exports.text


class Tally(wit_world.exports.text.Tally):
    def __init__(self, start: int) -> None:
        self.total = start

    def add(self, words: list[str]) -> int:
        self.total += len(words)
        return self.total

    def feed(self, data: bytes) -> int:
        self.total += len(data)
        return self.total

    @classmethod
    def join(cls, all_: list[Tally]) -> Tally:
        return Tally(sum(each.total for each in all_))
