"""Logs are one valid JSON object a line, whatever is logged; metrics render."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from hibana_server.telemetry import logs
from hibana_server.telemetry.metrics import Metrics


class Captured:
    """Standard error as the logs see it."""

    def __init__(self, capture: pytest.CaptureFixture[bytes]) -> None:
        self._capture = capture

    def text(self) -> str:
        return self._capture.readouterr().err.decode()

    def records(self) -> list[dict[str, Any]]:
        lines = self.text().split("\n")
        assert lines.pop() == ""
        return [json.loads(line) for line in lines]


def outside_of_calls() -> None:
    """Tell the logs that no call is served."""


@pytest.fixture
def stderr(capsysbinary: pytest.CaptureFixture[bytes]) -> Iterator[Captured]:
    yield Captured(capsysbinary)
    structlog.reset_defaults()


def test_a_line_carries_event_level_time_and_fields(stderr: Captured) -> None:
    logs.configure("info", "json", outside_of_calls)
    structlog.get_logger("x").info("ready", grpc="127.0.0.1:1", pid=5)
    (record,) = stderr.records()
    assert record.pop("timestamp").endswith("Z")
    assert record == {"event": "ready", "level": "info", "grpc": "127.0.0.1:1", "pid": 5}


def test_lines_of_a_call_carry_its_fields(stderr: Captured) -> None:
    fields: dict[str, str] | None = {"request_id": "r1", "caller": "alice", "execution": "e1"}
    logs.configure("info", "json", lambda: fields)
    log = structlog.get_logger("x")
    log.info("inside", caller="bob")
    fields = None
    log.info("outside")
    inside, outside = stderr.records()
    assert (inside["request_id"], inside["execution"]) == ("r1", "e1")
    assert inside["caller"] == "bob"
    assert "request_id" not in outside


@pytest.mark.parametrize(
    "value",
    [
        'quote " backslash \\ newline \n carriage \r tab \t',
        "\x1b[31mred\x00",
        "\u2028\u2029\u202e",
        "\ud800 lone",
        b"\xff\x00",
        float("nan"),
        10**40,
        object(),
        {"\ud800": object(), 1: 2},
        ValueError("text"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_hostile_values_make_one_valid_line(stderr: Captured, value: object) -> None:
    logs.configure("info", "json", outside_of_calls)
    structlog.get_logger("x").info("event", value=value, next="kept")
    (record,) = stderr.records()
    assert record["next"] == "kept"


@given(text=st.text(st.characters(exclude_categories=[])))
def test_any_text_makes_valid_json(text: str) -> None:
    line = logs._render_json(None, "info", {"event": text, text: text})
    assert b"\n" not in line
    assert json.loads(line)["event"] == text


def test_a_traceback_is_part_of_the_line(stderr: Captured) -> None:
    logs.configure("info", "json", outside_of_calls)
    try:
        raise ValueError("inner\ntext")
    except ValueError:
        structlog.get_logger("x").exception("defect")
    (record,) = stderr.records()
    assert record["exception"][0]["exc_type"] == "ValueError"
    assert record["exception"][0]["exc_value"] == "inner\ntext"


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_traceback_shows_no_variables(stderr: Captured, form: str) -> None:
    logs.configure("info", form, outside_of_calls)
    token = "-".join(["secret"] * 2)
    try:
        raise ValueError(len(token))
    except ValueError:
        structlog.get_logger("x").exception("defect")
    text = stderr.text()
    assert "ValueError" in text
    assert token not in text


def test_the_level_is_a_threshold(stderr: Captured) -> None:
    logs.configure("warning", "json", outside_of_calls)
    log = structlog.get_logger("x")
    log.info("quiet")
    log.warning("loud")
    assert [record["event"] for record in stderr.records()] == ["loud"]


def test_text_is_for_people(stderr: Captured) -> None:
    logs.configure("info", "text", outside_of_calls)
    structlog.get_logger("x").info("ready", pid=5)
    text = stderr.text()
    assert "ready" in text
    assert not text.startswith("{")


def test_metrics_count_calls_and_executions() -> None:
    metrics = Metrics()
    metrics.call(("/hibana.v1.Executor/Invoke", "OK"), 0.002)
    metrics.call(("/hibana.v1.Executor/Invoke", "OK"), 0.002)
    metrics.execution(("user", "ok", "memory"), 0.5)
    text = metrics.render().decode()
    assert 'hibana_rpc_calls_total{code="OK",method="/hibana.v1.Executor/Invoke"} 2.0' in text
    assert 'hibana_rpc_seconds_count{method="/hibana.v1.Executor/Invoke"} 2.0' in text
    assert 'hibana_executions_total{cache="memory",outcome="ok",tier="user"} 1.0' in text
    assert 'hibana_execution_seconds_bucket{le="0.5",tier="user"} 1.0' in text


def test_metrics_time_compiles() -> None:
    metrics = Metrics()
    metrics.compiled("user", 0.3)
    metrics.compiled("user", 3.0)
    text = metrics.render().decode()
    assert "# TYPE hibana_compile_seconds histogram" in text
    assert 'hibana_compile_seconds_bucket{le="0.5",tier="user"} 1.0' in text
    assert 'hibana_compile_seconds_count{tier="user"} 2.0' in text
    assert 'hibana_compile_seconds_sum{tier="user"} 3.3' in text


def test_numbers_are_read_at_each_scrape() -> None:
    metrics, idle = Metrics(), [1.0, 2.0]
    metrics.numbers("pool", lambda: {"idle_workers": idle.pop(0)})
    text = metrics.render().decode()
    assert "# HELP hibana_pool_idle_workers pool: idle workers." in text
    assert "hibana_pool_idle_workers 1.0" in text
    assert "hibana_pool_idle_workers 2.0" in metrics.render().decode()


def test_hostile_label_values_stay_one_line() -> None:
    metrics = Metrics()
    metrics.execution(('us"er\n', "ok\\", ""), 1.0)
    assert 'tier="us\\"er\\n"' in metrics.render().decode()


def test_numbers_that_only_grow_are_counters() -> None:
    metrics = Metrics()
    metrics.numbers("pool", lambda: {"made": 2, "crashed_total": 1, "busy": 3}, counters=("made",))
    text = metrics.render().decode()
    assert "# TYPE hibana_pool_made_total counter\nhibana_pool_made_total 2.0" in text
    assert "# TYPE hibana_pool_crashed_total counter\nhibana_pool_crashed_total 1.0" in text
    assert "# TYPE hibana_pool_busy gauge\nhibana_pool_busy 3.0" in text
