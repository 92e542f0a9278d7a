"""Requests that are carried out once: the caller's own id for a change, and what it was answered."""

from __future__ import annotations

from dataclasses import dataclass

from hibana_server.domain.errors import Invalid
from hibana_server.domain.modules import Module, ModuleVersion


@dataclass(frozen=True, slots=True)
class RequestKey:
    """A change that its caller gave an id."""

    caller: str
    """Subject; ids of different callers have nothing to do with each other."""
    request_id: str
    digest: bytes
    """Of the method and the whole body without the id: tells whether a second request is the same one."""
    time: int = 0
    """When it came, microseconds since 1970; answers are forgotten by it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a change was answered, to be told again word for word."""

    module: Module
    version: ModuleVersion | None = None
    seconds: float = 0.0
    """Wall time of the compile, for uploads."""
    existed: bool = False


def check_same(stored: bytes, key: RequestKey) -> None:
    """Raise Invalid(REQUEST_ID_REUSED) unless the stored digest is the key's."""
    if stored != key.digest:
        raise Invalid.field(
            "request_id",
            "was used for another request; choose a new id for a new request",
            reason="REQUEST_ID_REUSED",
        )
