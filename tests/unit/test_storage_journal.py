"""The journal: what was acknowledged reads back, whatever the disk did in between."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hibana_server.storage.sqlite.journal import Journal

Write = Callable[[int, bytes, int], int]


def entries(journal: Journal) -> list[bytes]:
    return [entry for segment in journal.segments() for entry in Journal.read(segment)]


def test_entries_read_back_in_order_across_segments(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    assert journal.rotate() is None
    given = [b"one", b"", b"three" * 1000]
    rotated = []
    for entry in given:
        journal.append(entry)
        rotated.append(journal.rotate())
    assert journal.segments() == rotated
    assert entries(journal) == given
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in journal.segments())


def test_numbers_go_on_behind_what_a_crash_left(tmp_path: Path) -> None:
    first = Journal(tmp_path / "journal")
    first.append(b"left")
    again = Journal(tmp_path / "journal")
    again.append(b"new")
    assert entries(again) == [b"left", b"new"]


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    (tmp_path / "journal" / "notes.txt").touch()
    (tmp_path / "journal" / "old.journal").touch()
    assert journal.segments() == []


@given(data=st.data(), given_entries=st.lists(st.binary(max_size=40), min_size=1, max_size=5))
def test_a_torn_tail_hides_nothing_that_was_complete(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, given_entries: list[bytes]
) -> None:
    journal = Journal(tmp_path_factory.mktemp("torn") / "journal")
    ends = []
    for entry in given_entries:
        journal.append(entry)
        ends.append(journal.segments()[0].stat().st_size)
    segment = journal.rotate()
    assert segment is not None
    cut = data.draw(st.integers(0, ends[-1]))
    os.truncate(segment, cut)
    assert list(Journal.read(segment)) == given_entries[: sum(end <= cut for end in ends)]


def test_a_damaged_entry_ends_the_segment(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    for entry in (b"good", b"evil", b"behind"):
        journal.append(entry)
    (segment,) = journal.segments()
    segment.write_bytes(segment.read_bytes().replace(b"evil", b"Evil"))
    assert entries(journal) == [b"good"]


def limited(room: int, write: Write = os.pwrite) -> Write:
    """Write in pieces of at most 5 bytes until the room is used up, as a disk that is nearly full may do."""

    def pwrite(descriptor: int, data: bytes, offset: int) -> int:
        nonlocal room
        if room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(descriptor, data[: min(room, 5)], offset)
        room -= written
        return written

    return pwrite


def test_an_entry_taken_in_pieces_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "journal")
    monkeypatch.setattr(os, "pwrite", limited(1000))
    journal.append(b"x" * 100)
    journal.append(b"y")
    assert entries(journal) == [b"x" * 100, b"y"]


@pytest.mark.parametrize("room", [0, 1, 8, 9, 50])
def test_a_refused_entry_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    journal = Journal(tmp_path / "journal")
    journal.append(b"before")
    forged = Journal(tmp_path / "forged")
    forged.append(b"forged")
    inner = forged.segments()[0].read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", limited(room))
        with pytest.raises(OSError, match="No space left"):
            journal.append(b"." * 3 + inner + b"." * 100)
    assert entries(journal) == [b"before"]
    journal.append(b"abc")  # as long as what stands before the bytes that look like an entry
    assert entries(journal) == [b"before", b"abc"]
