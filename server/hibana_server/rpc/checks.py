"""Rules for request fields. A rule's check returns the violations of one value, none when it is fine."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from hibana_server.domain.errors import Violation

Check = Callable[[str, Any], list[Violation]]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a field must be. The check sees only fields that are set."""

    check: Check
    required: bool = False
    accepted: str = ""
    """What to use instead of nothing, for required fields."""
    is_fine: Callable[[Any], object] | None = None
    """Tells of most values that `check` finds nothing, for less."""


class Fields(dict[str, Rule]):
    """The rules of a message's fields."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        super().__init__(rules)
        self.checks = {name: (rule.is_fine, rule.check) for name, rule in rules.items() if rule is not ANYTHING}
        """What a look at a field asks of it, for fields that are asked for anything."""
        self.required = frozenset(name for name, rule in rules.items() if rule.required)


MAX_YEAR_SECONDS = 253_402_300_799
"""End of the year 9999: the last Timestamp that has a text form."""


ANYTHING = Rule(lambda _path, _value: [])
"""Every value: the type alone bounds it, or the service judges it."""


_SHORT = 1024
"""Limit of text, bytes, up to which a look by one regular expression costs less than the usual check."""


def text(limit: int, pattern: re.Pattern[str] | None = None, accepted: str = "", *, required: bool = False) -> Rule:
    """Ask for text: at most `limit` bytes of UTF-8 without NUL, optionally of a pattern."""
    sure = limit // 4  # a character takes at most four bytes

    def check(path: str, value: str) -> list[Violation]:
        if len(value) > sure and len(value.encode("utf-8", "surrogatepass")) > limit:
            return [Violation(path, f"is longer than {limit} bytes")]
        if "\0" in value:
            return [Violation(path, "contains a NUL character")]
        if pattern is not None and not pattern.match(value):
            return [Violation(path, f"is malformed{_hint(accepted)}")]
        return []

    short = pattern is None and limit <= _SHORT
    return Rule(check, required, accepted, re.compile(rf"[^\0]{{0,{sure}}}\Z").match if short else None)


def _hint(accepted: str) -> str:
    return f"; use {accepted}" if accepted else ""


def data(limit: int) -> Rule:
    """Ask for at most `limit` bytes."""

    def check(path: str, value: bytes) -> list[Violation]:
        return [Violation(path, f"is longer than {limit} bytes")] if len(value) > limit else []

    return Rule(check)


def whole(low: int, high: int) -> Rule:
    """Ask for an integer in a range."""

    def check(path: str, value: int) -> list[Violation]:
        return [] if low <= value <= high else [Violation(path, f"must be {low} to {high}")]

    return Rule(check)


def unset_or(low: int, high: int) -> Rule:
    """Ask for an integer in a range, where 0 means unset."""

    def check(path: str, value: int) -> list[Violation]:
        return [] if value == 0 or low <= value <= high else [Violation(path, f"must be 0 (unset) or {low} to {high}")]

    return Rule(check)


def enum(descriptor: EnumDescriptor) -> Rule:
    """Ask for an enum value that this contract names."""
    numbers = frozenset(v.number for v in descriptor.values)

    def check(path: str, value: int) -> list[Violation]:
        return [] if value in numbers else [Violation(path, f"{value} is not a value of {descriptor.name}")]

    return Rule(check)


def duration(low: float, high: float) -> Rule:
    """Ask for a well-formed duration in seconds."""

    def check(path: str, value: Duration) -> list[Violation]:
        same_sign = value.seconds * value.nanos >= 0
        if abs(value.nanos) >= 1_000_000_000 or not same_sign:
            return [Violation(path, "is not a well-formed duration")]
        if not low <= value.seconds + value.nanos / 1e9 <= high:
            return [Violation(path, f"must be {low:.12g} s to {high:.12g} s")]
        return []

    return Rule(check)


def _check_time(path: str, value: Timestamp) -> list[Violation]:
    if not 0 <= value.seconds <= MAX_YEAR_SECONDS or not 0 <= value.nanos < 1_000_000_000:
        return [Violation(path, "is not a time from 1970 to 9999")]
    return []


TIME = Rule(_check_time)
"""A well-formed time from 1970 to 9999."""


def each(limit: int, item: Rule, *, total: int | None = None, fine: Callable[[Any], bool] | None = None) -> Rule:
    """Ask for a repeated field of at most `limit` items that each keep a rule, `total` bytes together.

    `fine` may tell at little cost of most items that they keep it.
    """

    def check(path: str, value: Any) -> list[Violation]:
        if len(value) > limit:
            return [Violation(path, f"has {len(value)} items, at most {limit}")]
        if total is not None and sum(len(v.encode()) for v in value) > total:
            return [Violation(path, f"is longer than {total} bytes together")]
        if fine is not None and all(map(fine, value)):
            return []
        return [v for i, entry in enumerate(value) for v in item.check(f"{path}[{i}]", entry)]

    return Rule(check)


def few(field: str, limit: int) -> Rule:
    """Ask for a message with at most `limit` items in its one field, a repeated one, whatever they are."""

    def check(path: str, value: Any) -> list[Violation]:
        count = len(getattr(value, field))
        return [Violation(f"{path}.{field}", f"has {count} items, at most {limit}")] if count > limit else []

    return Rule(check)


def mapping(limit: int, key: Rule, value: Rule, *, total: int | None = None) -> Rule:
    """Ask for a map of at most `limit` entries whose keys and values keep rules, `total` bytes together."""

    def check(path: str, entries: Any) -> list[Violation]:
        if len(entries) > limit:
            return [Violation(path, f"has {len(entries)} entries, at most {limit}")]
        if total is not None and sum(len(k.encode()) + len(v.encode()) for k, v in entries.items()) > total:
            return [Violation(path, f"is longer than {total} bytes together")]
        found: list[Violation] = []
        for index, (k, v) in enumerate(entries.items()):
            # The key itself is not put into the path: it is the caller's text of any length.
            found += key.check(f"{path}.key[{index}]", k) + value.check(f"{path}.value[{index}]", v)
        return found

    return Rule(check)


def message(rules: Mapping[str, Rule], *, required: bool = False) -> Rule:
    """Ask for a nested message whose fields keep their rules."""
    fields = Fields(rules)
    return Rule(lambda path, value: violations(fields, value, f"{path}."), required)


def violations(fields: Fields, value: Message, prefix: str = "") -> list[Violation]:
    """Check every field of a message. Fields that are not set have nothing wrong unless they are required."""
    found: list[Violation] = []
    checks = fields.checks
    names: list[str] = []
    for field, content in value.ListFields():
        name = field.name
        names.append(name)
        asked = checks.get(name)  # a test sees to it that every field of a request has a rule
        if asked is not None:
            is_fine, check = asked
            if (is_fine is None or not is_fine(content)) and (wrong := check(prefix + name, content)):
                found += wrong
    if not fields.required.issubset(names):
        for name in sorted(fields.required.difference(names)):
            found.append(Violation(prefix + name, f"is required{_hint(fields[name].accepted)}"))
    return found
