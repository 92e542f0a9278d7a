"""Messages of the contract as plain values."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

import hibana
from hibana import convert
from hibana.cli.executions import _tell as show_record
from hibana.v1 import execution_pb2, module_pb2

ENUMS = [
    (module_pb2.Tier, hibana.Tier, convert.TIERS),
    (module_pb2.ModuleStatus, hibana.Status, convert.STATUSES),
    (module_pb2.Convention, hibana.Convention, convert.CONVENTIONS),
    (module_pb2.Severity, hibana.Severity, convert.SEVERITIES),
    (execution_pb2.ExecutionState, hibana.State, convert.STATES),
    (execution_pb2.Outcome, hibana.Outcome, convert.OUTCOMES),
    (execution_pb2.CacheSource, hibana.Cache, convert.CACHES),
]


@pytest.mark.parametrize(("wire", "kind", "table"), ENUMS, ids=lambda value: getattr(value, "__name__", ""))
def test_every_value_of_every_enumeration_has_a_member(wire: Any, kind: Any, table: dict[int, Any]) -> None:
    assert set(table) == set(wire.values()) - {0}
    assert set(table.values()) == set(kind) - {kind.UNKNOWN}


def test_values_newer_than_this_client_are_unknown_not_errors() -> None:
    module = convert.module(module_pb2.Module(tier=99, status=99))  # type: ignore[arg-type]
    assert (module.tier, module.status) == (hibana.Tier.UNKNOWN, hibana.Status.UNKNOWN)
    record = convert.execution(execution_pb2.Execution(outcome=99, cache=99, state=99))  # type: ignore[arg-type]
    assert (record.outcome, record.cache, record.state) == (
        hibana.Outcome.UNKNOWN,
        hibana.Cache.UNKNOWN,
        hibana.State.UNKNOWN,
    )


def test_what_is_unset_is_none() -> None:
    module = convert.module(module_pb2.Module())
    assert (module.delete_time, module.limits) == (None, hibana.ModuleLimits())
    assert convert.module_version(module_pb2.ModuleVersion()).max_memory_pages is None
    assert convert.module_version(module_pb2.ModuleVersion(max_memory_pages=0)).max_memory_pages == 0
    record = convert.execution(execution_pb2.Execution())
    assert (record.outcome, record.failure, record.cache, record.input, record.end_time) == (None,) * 5


def summary(count: int) -> execution_pb2.Execution:
    """Make the record of a session of so many calls, the second of which failed."""
    record = execution_pb2.Execution(name="executions/1")
    record.session.calls, record.session.failed_calls = count, 1
    for number in range(1, count + 1):
        call = record.session.first_calls.add(call_id=number, function="add", outcome=execution_pb2.OUTCOME_OK)
        call.json_arguments.extend([number, "a"])
        call.json_results.extend([number + 1])
        call.execution_time.nanos = 2000
    second = record.session.first_calls[1]
    second.outcome = execution_pb2.OUTCOME_TRAP
    second.ClearField("json_results")
    second.ClearField("json_arguments")
    return record


def test_a_session_tells_its_calls() -> None:
    session = convert.execution(summary(2)).session
    assert session == hibana.SessionSummary(
        2,
        1,
        (
            hibana.CallSummary(1, "add", hibana.Outcome.OK, (1, "a"), (2,), 2e-6),
            hibana.CallSummary(2, "add", hibana.Outcome.TRAP, None, None, 2e-6),
        ),
    )
    assert convert.execution(execution_pb2.Execution()).session is None


def test_a_session_is_shown_with_its_first_calls(capsys: pytest.CaptureFixture[str]) -> None:
    show_record(convert.execution(summary(25)), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    told = dict(line.split(maxsplit=1) for line in lines if not line.startswith("call "))
    assert told["calls"] == "25, 1 of them failed"
    calls = [line for line in lines if line.startswith("call ")]
    assert len(calls) == 20
    assert calls[0].split(maxsplit=2)[2].startswith('add(1, "a") -> 2, ok, ')
    assert calls[1].split(maxsplit=2)[2].startswith("add(...), trap, ")
    assert told["..."] == "5 more; --json tells the first 25"


def test_a_module_spec_is_sent_only_if_something_is_told() -> None:
    nothing: dict[str, Any] = {"description": "", "public": False, "allowed_users": (), "labels": None, "limits": None}
    assert convert.module_spec(**nothing) is None
    told = convert.module_spec(**nothing | {"limits": hibana.ModuleLimits(timeout=0.25)})
    assert told is not None
    assert (told.limits.timeout.seconds, told.limits.timeout.nanos) == (0, 250_000_000)


@pytest.mark.parametrize("seconds", [0.0, 0.001, 1.0, 1.999999999, 59.25, 86400.0])
def test_durations_survive_both_ways(seconds: float) -> None:
    assert convert.seconds(convert.duration(seconds)) == pytest.approx(seconds, abs=1e-9)


def test_a_duration_never_has_a_whole_second_of_nanoseconds() -> None:
    assert convert.duration(0.9999999999).nanos < 10**9


def test_times_are_utc() -> None:
    there = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    message = convert.timestamp(there)
    assert message is not None
    assert convert.time(message) == there
    assert convert.time(message).tzinfo is UTC
    assert convert.timestamp(None) is None


def test_an_unknown_name_of_an_enumeration_names_the_known_ones() -> None:
    number = convert.enum_number(module_pb2.Tier.DESCRIPTOR, "TIER_", hibana.Tier.ADMIN)
    assert number == module_pb2.TIER_ADMIN
    with pytest.raises(hibana.ConfigError) as caught:
        convert.enum_number(module_pb2.Tier.DESCRIPTOR, "TIER_", "root")
    assert caught.value.next_step == "choose one of: system, admin, user"


def test_signatures_are_spelled() -> None:
    two = (hibana.Parameter("a", "s32"), hibana.Parameter("b", "f64"))
    assert hibana.Export("f", two, ("s32",), callable=True).signature == "(a: s32, b: f64) -> s32"
    assert hibana.Export("f", (), (), callable=True).signature == "()"
    assert hibana.Export("f", (), ("s32", "s64"), callable=True).signature == "() -> (s32, s64)"


def test_a_record_tells_its_trace(capsys: pytest.CaptureFixture[str]) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    record = convert.execution(execution_pb2.Execution(trace_id=trace))
    assert record.trace_id == trace
    show_record(record, as_json=False)
    assert re.search(rf"trace id\s+{trace}", capsys.readouterr().out)
    show_record(convert.execution(execution_pb2.Execution()), as_json=False)
    assert "trace id" not in capsys.readouterr().out
