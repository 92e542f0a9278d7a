"""Wanted files as a worker sends them, checked before they are believed."""

from __future__ import annotations

from hibana_server.domain.executions import FilePiece, Stream
from hibana_server.sandbox.frames import OUTPUT_PIECE, Out
from hibana_server.sandbox.output_pieces import ProtocolError


class FileAnswers:
    """Takes the files of one job, which come one after the other."""

    def __init__(self, wanted: tuple[str, ...]) -> None:
        self._wanted = wanted
        self._came: dict[int, int] = {}
        """Bytes so far, by the place of the file's name."""

    def take(self, frame: Out) -> FilePiece:
        """Return the piece in a frame. Raises ProtocolError."""
        place, size = frame.level, len(frame.data)
        if not max(self._came, default=0) <= place < len(self._wanted) or not 0 < size <= OUTPUT_PIECE:
            raise ProtocolError("bytes of a file that nobody wants")
        offset = self._came.get(place, 0)
        self._came[place] = offset + size
        return FilePiece(Stream.FILE, frame.data, 0, place, self._wanted[place], offset)

    def sizes(self, told: tuple[int, ...]) -> tuple[int, ...]:
        """Return the sizes of all files, -1 for none: what is told must be what came. Raises ProtocolError."""
        if len(told) != len(self._wanted) or any(
            size < -1 or max(size, 0) != self._came.get(place, 0) for place, size in enumerate(told)
        ):
            raise ProtocolError("files that are not those that came")
        return told
