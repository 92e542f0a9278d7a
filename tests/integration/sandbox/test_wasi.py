"""WASI programs: argv, env, stdin, stdout, stderr, and nothing else of this machine."""

from __future__ import annotations

import os
import zlib

import pytest

from hibana_server.domain.executions import Outcome, Stream
from tests.framework.guests import MIB, Bench
from tests.framework.wasm import resvg

SVG = b"""<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30">
<rect width="40" height="30" fill="#c33"/><circle cx="20" cy="15" r="10" fill="#fff"/></svg>"""


async def test_argv_begins_with_the_program(bench: Bench) -> None:
    _, listener = await bench.run("sandbox_wasi", "arguments", program="prog", argv=("a", "", "b c", "ü"))
    assert listener.text() == "prog\0a\0\0b c\0ü\0".encode()


async def test_env_is_what_the_call_says(bench: Bench) -> None:
    _, listener = await bench.run("sandbox_wasi", "environment", env=(("A", "1"), ("B", "x=y")))
    assert listener.text() == b"A=1\0B=x=y\0"


async def test_env_holds_nothing_of_the_service(bench: Bench) -> None:
    assert os.environ
    _, listener = await bench.run("sandbox_wasi", "environment")
    assert listener.text() == b""


async def test_no_directory_is_open(bench: Bench) -> None:
    assert await bench.value("sandbox_wasi", "preopened") == 8  # EBADF


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 4 * MIB])
async def test_stdin_reaches_stdout(bench: Bench, size: int) -> None:
    data = (bytes(range(251)) * (size // 251 + 1))[:size]
    end, listener = await bench.run("sandbox_wasi", "cat", stdin=data, output_bytes=5 * MIB)
    assert end.outcome is Outcome.OK
    assert zlib.crc32(listener.text()) == zlib.crc32(data)
    assert len(listener.text()) == size


async def test_streams_keep_their_order(bench: Bench) -> None:
    _, listener = await bench.run("sandbox_wasi", "interleave", 200)
    merged = [(each.stream, each.data) for each in listener.pieces]
    expected = [(Stream.STDOUT, b"out\n"), (Stream.STDERR, b"err\n")] * 200
    assert merged == expected


async def test_output_arrives_while_the_guest_runs(bench: Bench) -> None:
    sandbox, listener = await bench.start(bench.job("sandbox_wasi", "write_then_loop"))
    await listener.until(lambda: listener.text() == b"first\n")
    assert not listener.ends
    sandbox.kill(Outcome.CANCELLED)
    end = await listener.end()
    assert end.outcome is Outcome.CANCELLED
    assert end.failure is not None


async def test_output_before_the_limit_is_delivered_and_no_more(bench: Bench) -> None:
    end, listener = await bench.run("sandbox_wasi", "flood", output_bytes=100_000)
    assert end.outcome is Outcome.OUTPUT_LIMIT
    assert listener.text() == b"x" * 100_000
    assert end.failure is not None
    assert end.failure.message


async def test_the_limit_counts_both_streams_together(bench: Bench) -> None:
    end, listener = await bench.run("sandbox_wasi", "interleave", 100_000, output_bytes=1002)
    assert end.outcome is Outcome.OUTPUT_LIMIT
    assert len(listener.text()) + len(listener.text(Stream.STDERR)) == 1002


async def test_output_of_exactly_the_limit_is_fine(bench: Bench) -> None:
    end, listener = await bench.run("sandbox_wasi", "write", 4000, output_bytes=4000)
    assert (end.outcome, end.results, len(listener.text())) == (Outcome.OK, (0,), 4000)


async def test_a_guest_that_stops_at_the_error_code_went_over_the_limit_too(bench: Bench) -> None:
    end, _ = await bench.run("sandbox_wasi", "flood_politely", output_bytes=50_000)
    assert end.outcome is Outcome.OUTPUT_LIMIT


async def test_a_flood_ends_well_when_it_ends(bench: Bench) -> None:
    end, listener = await bench.run("sandbox_wasi", "flood", output_bytes=8 * MIB)
    assert end.outcome is Outcome.OUTPUT_LIMIT
    assert len(listener.text()) == 8 * MIB


async def test_a_command(bench: Bench) -> None:
    end, _ = await bench.run("sandbox_command", program="p", argv=("x", "y", "z"))
    assert end.failure is not None
    assert (end.outcome, end.failure.exit_code) == (Outcome.EXIT, 3)
    end, _ = await bench.run("sandbox_command", program="p")
    assert end.outcome is Outcome.OK


async def test_a_reactor_is_initialized_once(bench: Bench) -> None:
    assert await bench.value("sandbox_reactor", "ready") == 1


async def test_a_module_gets_wasi_by_its_own_imports(bench: Bench) -> None:
    _, listener = await bench.run("sandbox_wasi", "arguments", program="p")
    assert listener.ends
    assert await bench.value("sandbox_numbers", "add", 1, 1) == 2


async def test_a_real_program(bench: Bench) -> None:
    end, listener = await bench.run(
        resvg(), program="resvg", argv=("--resources-dir", "/", "-", "-c"), stdin=SVG, result_types=()
    )
    assert end.outcome is Outcome.OK, end
    assert listener.text().startswith(b"\x89PNG\r\n\x1a\n")
    assert listener.text()[16:24] == (40).to_bytes(4, "big") + (30).to_bytes(4, "big")
    assert end.usage.memory_bytes > MIB
