"""What a session takes from its caller: ids that must differ, and bytes that are bounded."""

from __future__ import annotations

from bisect import bisect_right

from hibana_server.domain.errors import Invalid

_MAX_RANGES = 4096
"""Ranges of ids that are remembered; past it the lowest are forgotten, and may be used again."""


class CallIds:
    """The ids a session has seen, as ranges: whoever counts up fills one."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        """First and last id of each range, in rising order."""

    def take(self, call_id: int) -> None:
        """Take a new id. Raises Invalid for 0 and for one that was used."""
        if call_id < 1:
            raise Invalid.field("calls.call_id", "must be at least 1; answers are told by it")
        starts, ends = self._starts, self._ends
        if ends and call_id == ends[-1] + 1:
            ends[-1] = call_id
            return
        at = bisect_right(starts, call_id)
        if at and call_id <= ends[at - 1]:
            raise Invalid.field(
                "calls.call_id", f"{call_id} was used in this session; give every call an id of its own"
            )
        after = at < len(starts) and starts[at] == call_id + 1
        if at and ends[at - 1] == call_id - 1:
            ends[at - 1] = ends.pop(at) if after else call_id
            if after:
                starts.pop(at)
        elif after:
            starts[at] = call_id
        else:
            starts.insert(at, call_id)
            ends.insert(at, call_id)
            if len(starts) > _MAX_RANGES:
                del starts[0], ends[0]


class StdinBuffer:
    """Bytes for a guest's stdin that it has not asked for yet."""

    PIECE = 64 * 1024
    """Bytes that a guest gets at a time."""
    MAX_BYTES = 1024 * 1024
    """Bytes past which the caller waits."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._ended = False
        self._hungry = False

    @property
    def full(self) -> bool:
        """Whether the caller has to wait."""
        return len(self._data) >= self.MAX_BYTES

    @property
    def ended(self) -> bool:
        """Whether nothing more comes."""
        return self._ended

    def add(self, data: bytes) -> None:
        """Append."""
        self._data += data

    def end(self) -> None:
        """Take note that nothing more comes."""
        self._ended = True

    def asked(self) -> None:
        """Take note that the guest waits."""
        self._hungry = True

    def take(self) -> tuple[bytes, bool] | None:
        """Return what a guest that waits gets now, and whether it is the last; None where it goes on waiting."""
        if not self._hungry or not (self._data or self._ended):
            return None
        self._hungry = False
        piece = bytes(self._data[: self.PIECE])
        del self._data[: self.PIECE]
        return piece, self._ended and not self._data
