"""Programs of WASI 0.2: what a call brings along goes in, what they write comes out, and nothing else is there."""

from __future__ import annotations

from typing import Any

import pytest

from hibana_server.domain.executions import Outcome, Stream
from hibana_server.domain.files import Directory
from tests.framework.component_sockets import CODES, asking
from tests.framework.guests import MIB, Bench

WASI = "component_wasi"


@pytest.fixture(params=[{}, {"directory": Directory()}], ids=["without files", "with files"])
def way(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return what makes the streams, clocks and sockets of a run the engine's, or our own."""
    found: dict[str, Any] = request.param
    return found


async def test_a_program_copies_stdin(bench: Bench, way: dict[str, Any]) -> None:
    data = bytes(range(256)) * 400
    end, heard = await bench.call(WASI, "", "_start", stdin=data, **way)
    assert end.outcome is Outcome.OK, end
    assert heard.text() == data


async def test_a_program_that_returns_an_error_exits_with_1(bench: Bench, way: dict[str, Any]) -> None:
    end, heard = await bench.call(WASI, "", "_start", **way)
    assert end.failure
    assert (end.outcome, end.failure.exit_code) == (Outcome.EXIT, 1)
    assert (heard.text(), heard.text(Stream.STDERR)) == (b"hello\n", b"warning\n")


async def test_run_called_by_its_own_name_returns_its_result(bench: Bench, way: dict[str, Any]) -> None:
    assert await bench.result(WASI, "", "wasi:cli/run@0.2.0#run", **way) == [True, None]
    assert await bench.result(WASI, "", "wasi:cli/run@0.2.0#run", stdin=b"x", **way) == [False, None]


async def test_exit_ends_a_component(bench: Bench, way: dict[str, Any]) -> None:
    end, _ = await bench.call(WASI, "", "leave", [False, None], **way)
    assert end.outcome is Outcome.OK
    end, _ = await bench.call(WASI, "", "leave", [True, None], **way)
    assert end.failure
    assert (end.outcome, end.failure.exit_code) == (Outcome.EXIT, 1)


async def test_arguments_and_environment_are_those_of_the_call(bench: Bench, way: dict[str, Any]) -> None:
    call = {"program": "name", "argv": ("a", "火"), "env": (("KEY", "value"),)}
    assert await bench.result(WASI, "", "arguments", **call, **way) == ["name", "a", "火"]
    assert await bench.result(WASI, "", "environment", **call, **way) == [["KEY", "value"]]
    assert await bench.result(WASI, "", "environment", **way) == []


async def test_a_directory_is_open_where_a_run_has_one(bench: Bench, way: dict[str, Any]) -> None:
    assert await bench.result(WASI, "", "directories", **way) == len(way)


@pytest.mark.parametrize("version", ["0.2.0", "0.2.3", "0.2.12", "0.2.40"])
@pytest.mark.parametrize("kind", ["tcp", "udp"])
async def test_no_socket_is_made(bench: Bench, way: dict[str, Any], kind: str, version: str) -> None:
    assert await bench.result(asking(kind, version), "", "ask", **way) == [1, CODES.index("not-supported")]


async def test_output_arrives_while_the_component_runs(bench: Bench, way: dict[str, Any]) -> None:
    job = bench.typed_job(WASI, "", "say-and-spin", **way)
    sandbox, heard = await bench.start(job)
    await heard.until(lambda: heard.text() == b"hello\n")
    sandbox.kill(Outcome.CANCELLED)
    assert (await heard.end()).outcome is Outcome.CANCELLED


async def test_a_flood_of_output_ends_at_its_limit(bench: Bench, way: dict[str, Any]) -> None:
    end, heard = await bench.call(WASI, "", "flood", output_bytes=100_000, **way)
    assert (end.outcome, len(heard.text())) == (Outcome.OUTPUT_LIMIT, 100_000)


async def test_a_component_that_sleeps_ends_at_its_time_limit(bench: Bench, way: dict[str, Any]) -> None:
    assert (await bench.call(WASI, "", "sleep", 1000, **way))[0].outcome is Outcome.OK
    end, _ = await bench.call(WASI, "", "sleep", 60 * 10**9, timeout=0.2, **way)
    assert end.outcome is Outcome.TIMEOUT


async def test_random_bytes_are_bounded_by_memory(bench: Bench, way: dict[str, Any]) -> None:
    assert await bench.result(WASI, "", "random", 1000, **way) == 1000
    for size in (60 * MIB, 1 << 33, 1 << 63):
        end, _ = await bench.call(WASI, "", "random", size, memory_bytes=10 * MIB, **way)
        assert end.outcome in {Outcome.TRAP, Outcome.MEMORY, Outcome.OUTPUT_LIMIT}, (size, end)


async def test_resources_that_nobody_drops_end_with_the_call(bench: Bench, way: dict[str, Any]) -> None:
    assert await bench.result(WASI, "", "leak", 10_000, **way) == 10_000
    end, _ = await bench.call(WASI, "", "leak", 50_000_000, **way)
    assert end.outcome in {Outcome.TRAP, Outcome.TIMEOUT}, end
