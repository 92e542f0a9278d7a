"""The doctor: what a finding means, and what becomes of an examination that cannot be carried out."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import pytest
from rich.console import Console

from hibana_server.doctor.check import Check, State, examine, verdict
from hibana_server.doctor.report import as_json, progress, show
from hibana_server.doctor.walls import judge
from hibana_server.domain.errors import Unavailable
from hibana_server.sandbox.zygote_frames import Wall
from hibana_server.settings.model import Settings

GOOD = Check("one", State.OK, "found")
POOR = Check("two", State.WARN, "less", "do this")


def good(_settings: Settings) -> Iterator[Check]:
    yield GOOD


def broken(_settings: Settings) -> Iterator[Check]:
    yield POOR
    raise Unavailable("cannot be tried")


def denied(_settings: Settings) -> Iterator[Check]:
    raise PermissionError("not yours")


def test_an_examination_that_fails_is_a_failed_check_and_the_others_go_on() -> None:
    found = examine(Settings(), (("a", broken), ("b", denied), ("c", good)))
    assert [(check.name, check.state) for check in found] == [
        ("two", State.WARN),
        ("a", State.FAIL),
        ("b", State.FAIL),
        ("one", State.OK),
    ]
    assert "cannot be tried" in found[1].detail
    assert all(check.fix for check in found if check.state is not State.OK)


def test_the_verdict_is_the_worst_state() -> None:
    assert verdict([]) is State.OK
    assert verdict([GOOD]) is State.OK
    assert verdict([GOOD, POOR, GOOD]) is State.WARN
    assert verdict([Check("x", State.FAIL, ""), POOR, GOOD]) is State.FAIL


@pytest.mark.parametrize(
    ("stands", "fix", "required", "state"),
    [
        (True, "", (), State.OK),
        (True, "", ("landlock",), State.OK),
        (True, "newer kernel", ("landlock",), State.WARN),
        (False, "newer kernel", (), State.WARN),
        (False, "newer kernel", ("seccomp",), State.WARN),
        (False, "newer kernel", ("seccomp", "landlock"), State.FAIL),
    ],
)
def test_a_wall_is_judged_by_whether_it_stands_and_is_required(
    stands: bool, fix: str, required: tuple[str, ...], state: State
) -> None:
    check = judge(Wall("landlock", stands, "told", fix), required)
    assert (check.name, check.state, check.fix) == ("wall landlock", state, fix)
    assert "told" in check.detail


def test_json_tells_everything() -> None:
    assert json.loads(as_json([GOOD, POOR])) == {
        "state": "warn",
        "checks": [
            {"name": "one", "state": "ok", "detail": "found", "fix": ""},
            {"name": "two", "state": "warn", "detail": "less", "fix": "do this"},
        ],
    }


def test_the_table_shows_text_as_it_is() -> None:
    target = io.StringIO()
    show([Check("odd [bold]", State.WARN, "[red]found[/red]", "see [x]")], Console(file=target, width=200))
    assert "odd [bold]" in target.getvalue()
    assert "[red]found[/red]" in target.getvalue()
    assert "see [x]" in target.getvalue()


def test_progress_is_shown_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")  # a dumb one shows none
    for terminal in (True, False):
        target = io.StringIO()
        with progress(Console(file=target, width=80, force_terminal=terminal)) as tell:
            tell("12 versions [bold]")
        assert ("12 versions [bold]" in target.getvalue()) is terminal
