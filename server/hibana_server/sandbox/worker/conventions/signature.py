"""What a convention is told of the function it calls."""

from __future__ import annotations

from dataclasses import dataclass

from hibana_server.domain.wit import Type


@dataclass(frozen=True, slots=True)
class Signature:
    """Types of a function."""

    parameters: tuple[Type, ...]
    results: tuple[Type, ...]
    forms: tuple[str, ...]
    """For each parameter the class of its array, empty where the type says all; then the function's own, if any."""
