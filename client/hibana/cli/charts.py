"""Numbers of executions drawn in a terminal: bars of plain characters, 80 columns wide, readable without colour."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import hibana
from hibana.cli.output import print_text
from hibana.cli.text import local_time, seconds

WIDTH = 80
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_HEIGHTS = " ▁▂▃▄▅▆▇█"


def bar(count: int, most: int, width: int) -> str:
    """Return a bar of at most `width` columns; whatever is not nothing can be seen."""
    if not count:
        return ""
    eighths = max(1, round(count / most * width * 8))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def bars(rows: Sequence[tuple[str, int]], total: int) -> list[str]:
    """Return a line for each name and count: name, bar, count, share."""
    if not rows:
        return []
    names = max(len(name) for name, _ in rows)
    counts = max(len(str(count)) for _, count in rows)
    most = max(count for _, count in rows)
    width = max(WIDTH - names - counts - 12, 8)
    return [
        f"{name:>{names}}  {bar(count, most, width):<{width}} {count:>{counts}} {100 * count / total:5.1f}%"
        for name, count in rows
    ]


def column(values: Iterable[float | None]) -> str:
    """Return one character for each value, as high as its share of the largest; a space for none."""
    known = list(values)
    most = max((value for value in known if value), default=0)
    return "".join(" " if not value else _HEIGHTS[max(1, round(value / most * 8))] for value in known)


def print_charts(stats: hibana.ExecutionStats) -> None:
    """Draw outcomes, durations, and both over the time."""
    for line in chart_lines(stats):
        print_text(line)


def chart_lines(stats: hibana.ExecutionStats) -> list[str]:
    """Return the lines of all charts."""
    if not stats.calls:
        return ["no executions match"]
    sample = " (the newest; there are more)" if stats.is_sample else ""
    times = [("p50", stats.p50), ("p95", stats.p95), ("p99", stats.p99)]
    told = ", ".join(f"{name} {seconds(value)}" for name, value in times if value is not None)
    outcomes = sorted(((outcome.value, count) for outcome, count in stats.outcomes.items()), key=lambda row: -row[1])
    durations = [(f"<= {seconds(each.at_most)}", each.count) for each in stats.durations]
    lines = [f"{stats.calls} executions{sample}", f"time: {told}", "", "outcomes", *bars(outcomes, stats.calls)]
    lines += ["", "how long they took", *bars(durations, stats.calls)]
    if len(stats.intervals) > 1:
        slowest = max(i.p95 or 0.0 for i in stats.intervals)
        first, last = stats.intervals[0], stats.intervals[-1]
        lines += [
            "",
            f"from {local_time(first.start_time)} to {local_time(last.start_time)} (most in brackets)",
            f"  calls |{column(i.calls for i in stats.intervals)}| [{max(i.calls for i in stats.intervals)}]",
            f" failed |{column(i.failed for i in stats.intervals)}| [{max(i.failed for i in stats.intervals)}]",
            f"    p95 |{column(i.p95 for i in stats.intervals)}| [{seconds(slowest)}]",
        ]
    return lines
