"""Charts in a terminal: as wide as it is, and readable without colour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import hibana
from hibana.cli.charts import WIDTH, bar, bars, chart_lines, column

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
STATS = hibana.ExecutionStats(
    calls=1001,
    is_sample=True,
    outcomes={hibana.Outcome.OK: 1000, hibana.Outcome.OUTPUT_LIMIT: 1},
    durations=(hibana.DurationCount(0.0005, 1), hibana.DurationCount(2.0, 1000)),
    p50=2.0,
    p95=2.0,
    p99=2.0,
    intervals=tuple(
        hibana.Interval(NOON + timedelta(hours=n), n * 10, n % 2, 0.1 if n else None, 0.2 if n else None)
        for n in range(48)
    ),
)


def test_a_bar_is_as_long_as_its_share_and_one_can_be_seen() -> None:
    assert bar(10, 10, 20) == "█" * 20
    assert bar(5, 10, 20) == "█" * 10
    assert bar(0, 10, 20) == ""
    assert bar(1, 10**9, 20) == "▏"


def test_rows_tell_name_count_and_share() -> None:
    first, second = bars([("ok", 3), ("trap", 1)], 4)
    assert first.split()[0] == "ok"
    assert first.endswith("3  75.0%")
    assert second.endswith("1  25.0%")


def test_a_column_is_a_character_for_each_interval() -> None:
    assert column([0, 1, None, 100]) == " ▁ █"
    assert column([]) == ""


def test_no_line_is_wider_than_a_small_terminal() -> None:
    lines = chart_lines(STATS)
    assert max(map(len, lines)) <= WIDTH
    assert lines[0] == "1001 executions (the newest; there are more)"
    assert not any("\x1b" in line for line in lines)


def test_nothing_is_told_in_a_line() -> None:
    nothing = hibana.ExecutionStats(0, False, {}, (), None, None, None, ())
    assert chart_lines(nothing) == ["no executions match"]
