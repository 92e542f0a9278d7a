"""The domain's words: enumerations whose members are text."""

from __future__ import annotations

from enum import StrEnum


class Word(StrEnum):
    """An enumeration hashed as the text it is: Enum hashes a member's name in Python, and every call looks some up."""

    __hash__ = str.__hash__
