"""Read numbers, names and counted regions out of hostile bytes, never past their end."""

from __future__ import annotations

from hibana_server.sandbox.gate.errors import LimitPassed, Malformed
from hibana_server.sandbox.gate.instructions import skip_expressions, skip_numbers


class Reader:
    """A cursor over a region of the module. Offsets in messages count from the module's first byte."""

    __slots__ = ("_data", "_end", "_position")

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self._data = data
        self._position = start
        self._end = end

    @property
    def position(self) -> int:
        """Offset of the next byte."""
        return self._position

    @property
    def data(self) -> bytes:
        """The bytes that offsets point into."""
        return self._data

    @property
    def end(self) -> int:
        """Offset behind the region's last byte."""
        return self._end

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return self._end - self._position

    def peek(self) -> int | None:
        """Return the next byte and leave it there; None at the end."""
        return self._data[self._position] if self.left else None

    def byte(self) -> int:
        """Read one byte."""
        if self._position >= self._end:
            raise self.malformed("the data ends too early")
        value = self._data[self._position]
        self._position += 1
        return value

    def u32(self) -> int:
        """Read an unsigned LEB128 number of at most 32 bits."""
        data, position, end = self._data, self._position, self._end
        value = shift = 0
        while position < end:
            byte = data[position]
            position += 1
            if shift == 28 and byte > 0x0F:
                raise self.malformed("a number is longer than 32 bits")
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                self._position = position
                return value
            shift += 7
        raise self.malformed("the data ends inside a number")

    def skip(self, count: int) -> None:
        """Pass over `count` bytes."""
        if count > self.left:
            raise self.malformed("the data ends too early")
        self._position += count

    def region(self, size: int) -> Reader:
        """Return a reader over the next `size` bytes and pass over them."""
        start = self._position
        self.skip(size)
        return Reader(self._data, start, start + size)

    def skip_numbers(self, count: int) -> None:
        """Pass over `count` LEB128 numbers."""
        self._position = skip_numbers(self._data, self._position, self._end, count)

    def skip_expressions(self, count: int = 1) -> None:
        """Pass over `count` constant expressions."""
        self._position = skip_expressions(self._data, self._position, self._end, count)

    def name(self, limit: int) -> str:
        """Read a UTF-8 name of at most `limit` bytes."""
        size = self.u32()
        if size > self.left:
            raise self.malformed("the data ends inside a name")
        if size > limit:
            raise LimitPassed("Bytes of one name", size, limit, "Shorten the name.")
        start = self._position
        self._position += size
        try:
            return self._data[start : self._position].decode("utf-8")
        except UnicodeDecodeError:
            raise self.malformed("a name is not valid UTF-8", at=start) from None

    def count(self, what: str, limit: int, item_bytes: int = 1) -> int:
        """Read how many items follow, each at least `item_bytes` long, and hold the count against a limit."""
        count = self.u32()
        if count > limit:
            raise LimitPassed(what, count, limit)
        if count * item_bytes > self.left:
            raise self.malformed("a list is announced longer than its section")
        return count

    def finish(self) -> None:
        """Demand that everything was read."""
        if self.left:
            raise self.malformed("a section is longer than what it holds")

    def malformed(self, what: str, *, at: int | None = None) -> Malformed:
        """Build the refusal that tells what is wrong and where."""
        offset = self._position if at is None else at
        return Malformed(f"The bytes are no valid WebAssembly module: {what} (at offset {offset:#x}).")
