"""Lists that are printed line by line while they are read."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

import hibana
from hibana.cli.take import stream, times_again
from hibana.errors import Unavailable


def listing(pages: dict[str, hibana.Page[int] | Exception]) -> hibana.Listing[int]:
    """Make a list of these pages, by token."""

    async def fetch(token: str) -> hibana.Page[int]:
        page = pages[token]
        if isinstance(page, Exception):
            raise page
        return page

    return hibana.Listing(fetch)


async def test_every_page_is_printed_an_item_to_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    await stream(
        listing({"": hibana.Page((1, 2), "b", 3), "b": hibana.Page((), "c", 3), "c": hibana.Page((3,), "", 3)}), ""
    )
    assert capsys.readouterr().out == "1\n2\n3\n"


async def test_one_that_is_cut_off_tells_the_token_that_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    pages: dict[str, hibana.Page[int] | Exception] = {"": hibana.Page((1,), "b", 2), "b": Unavailable("gone")}
    bound = times_again(datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
    with pytest.raises(Unavailable):
        await stream(listing(pages), "", bound)
    told = capsys.readouterr()
    assert told.out == "1\n"
    assert "--since 2026-01-31T00:00:00+00:00 --until 2026-02-01T00:00:00+00:00 --page-token b" in told.err
    await stream(listing(pages | {"b": hibana.Page((2,), "", 2)}), "b")
    assert capsys.readouterr().out == "2\n"


async def test_one_that_never_began_has_nothing_to_go_on_from(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Unavailable):
        await stream(listing({"": Unavailable("gone")}), "")
    assert "page-token" not in capsys.readouterr().err
