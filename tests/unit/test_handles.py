"""The table of a session's objects."""

from __future__ import annotations

import pytest

from hibana_server.domain.wit import read_type
from hibana_server.sandbox.worker.conventions import handles as table
from hibana_server.sandbox.worker.conventions.ends import RefusedError
from hibana_server.sandbox.worker.conventions.handles import Handles

OWN, BORROW = read_type("own<Image>"), read_type("borrow<Image>")


def test_no_more_objects_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "MAX_HANDLES", 3)
    handles = Handles()
    given = [handles.give("Image", 8 * i, counted=True) for i in (1, 2, 3)]
    with pytest.raises(RefusedError, match="holds 3 objects; free") as refused:
        handles.check_room()
    assert refused.value.code == "HANDLES_FULL"
    handles.end(given[0])
    handles.check_room()


def test_an_object_is_given_away_once() -> None:
    handles = Handles()
    one = handles.give("Image", 8, counted=True)
    assert list(handles.find((BORROW, BORROW), (one, one))) == [one]
    for types in ((OWN, OWN), (OWN, BORROW), (BORROW, OWN)):
        with pytest.raises(RefusedError, match="another argument"):
            handles.find(types, (one, one))


def test_a_handle_is_no_number_that_can_be_guessed() -> None:
    given = {Handles().give("Image", 8, counted=True) for _ in range(100)}
    assert len(given) == 100
    assert all(0 < each < 2**63 for each in given)
