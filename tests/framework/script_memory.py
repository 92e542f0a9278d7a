"""The memory of a script that a guest of ours carries out, and the calls behind it."""

from __future__ import annotations

import struct

BASE = 0x10000
"""Where the guest puts it."""
_HEADER = struct.Struct("<II")


class ScriptMemory:
    """Memory and calls, in their order. Who derives from it knows what a call is made of."""

    def __init__(self, record: struct.Struct) -> None:
        """Take the form of a call."""
        self._record = record
        self._memory = bytearray(_HEADER.size)
        self._calls: list[tuple[int, ...]] = []

    def room(self, size: int, content: bytes = b"") -> int:
        """Set memory aside and return its address."""
        self._memory += bytes(-len(self._memory) % 8)
        address = BASE + len(self._memory)
        self._memory += content.ljust(size, b"\0")
        return address

    def text(self, text: str | bytes) -> tuple[int, int]:
        """Put text into the memory and return address and length."""
        data = text.encode() if isinstance(text, str) else text
        return self.room(len(data), data), len(data)

    @property
    def data(self) -> bytes:
        """The script as the guest takes it."""
        calls = BASE + len(self._memory)
        memory = bytes(_HEADER.pack(len(self._calls), calls)) + bytes(self._memory[_HEADER.size :])
        return memory + b"".join(self._record.pack(*call) for call in self._calls)
