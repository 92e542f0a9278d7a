"""WASI with unusual programs: floods of small writes, closed streams, wild pointers, exits from anywhere."""

from __future__ import annotations

import time

import pytest

from hibana_server.domain.executions import Outcome, Stream
from tests.framework.guests import MIB, Bench
from tests.framework.promptness import within
from tests.framework.wasm import wat


@pytest.mark.timeout(120)
async def test_a_hundred_thousand_writes_of_one_byte(bench: Bench) -> None:
    end, listener = await bench.run("sandbox_touch", "bytes", 100_000, timeout=60.0)
    assert end.outcome is Outcome.OK
    assert listener.text() == b"/" * 100_000


async def test_one_write_of_eight_megabytes(bench: Bench) -> None:
    end, listener = await bench.run("sandbox_touch", "piece", 8 * MIB, output_bytes=8 * MIB)
    assert end.outcome is Outcome.OK
    (written,) = end.results
    # How much one call takes is the engine's choice; what it says must be what arrived.
    assert 0 < written <= 8 * MIB
    assert len(listener.text()) == written


async def test_one_write_beyond_the_limit_is_cut_there(bench: Bench) -> None:
    end, listener = await bench.run("sandbox_touch", "piece", 8 * MIB, output_bytes=1000)
    assert (end.outcome, len(listener.text())) == (Outcome.OUTPUT_LIMIT, 1000)


async def test_the_output_limit_ends_a_guest_promptly(bench: Bench) -> None:
    end, _ = await within(1.0, lambda: bench.run("sandbox_wasi", "flood", output_bytes=10_000, timeout=10.0))
    assert end.outcome is Outcome.OUTPUT_LIMIT


async def test_a_guest_may_close_its_stdout(bench: Bench) -> None:
    end, listener = await bench.run("sandbox_touch", "write_after_close")
    assert (end.outcome, end.results, listener.pieces) == (Outcome.OK, (8,), [])  # EBADF
    # Streams of the next call are open again.
    _, listener = await bench.run("sandbox_wasi", "interleave", 1)
    assert listener.text() == b"out\n"


@pytest.mark.parametrize(
    "arguments",
    [
        (1, -8, 1, 8),
        (1, 0, -1, 8),
        (1, 0, 1, -1),
        (1, 65536, 1, 8),
        (1, 0, 2**31 - 1, 8),
        (99, 0, 1, 8),
        (-1, 0, 1, 8),
        (0, 0, 1, 8),
    ],
)
async def test_wild_pointers_of_a_write(bench: Bench, arguments: tuple[int, ...]) -> None:
    end, listener = await bench.run("sandbox_touch", "write", *arguments)
    assert end.outcome in {Outcome.OK, Outcome.TRAP}
    assert end.outcome is Outcome.TRAP or end.results[0] != 0 or listener.text() == b""
    assert await bench.value("sandbox_numbers", "add", 1, 1) == 2


@pytest.mark.parametrize(("pointer", "length"), [(0, 65536), (1, 65536), (-1, 2), (0, -1)])
async def test_random_bytes_stay_inside_the_memory(bench: Bench, pointer: int, length: int) -> None:
    end, _ = await bench.run("sandbox_touch", "random", pointer, length)
    if (pointer, length) == (0, 65536):
        assert (end.outcome, end.results) == (Outcome.OK, (0,))
    else:
        assert end.outcome is Outcome.TRAP or (end.outcome is Outcome.OK and end.results[0] != 0)


async def test_the_clocks_go(bench: Bench) -> None:
    realtime = await bench.value("sandbox_touch", "clock", 0)
    assert abs(realtime / 1e9 - time.time()) < 60
    first, second = [await bench.value("sandbox_touch", "clock", 1) for _ in range(2)]
    assert first >= 0
    assert second >= 0


@pytest.mark.parametrize("directory", [0, 1, 2, 3, 4, -1])
async def test_no_file_can_be_opened(bench: Bench, directory: int) -> None:
    assert await bench.value("sandbox_touch", "open", directory) != 0


async def test_an_exit_from_deep_inside(bench: Bench) -> None:
    end, _ = await bench.run("sandbox_touch", "exit_from_deep_inside")
    assert end.failure is not None
    assert (end.outcome, end.failure.exit_code) == (Outcome.EXIT, 7)


async def test_an_exit_from_the_start_function(bench: Bench) -> None:
    for code, outcome in ((0, Outcome.OK), (4, Outcome.EXIT)):
        module = wat(f"""(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (func $start (call $exit (i32.const {code}))) (start $start) (func (export "_start") unreachable))""")
        end, _ = await bench.run(module)
        assert end.outcome is outcome


async def test_an_exit_with_zero_leaves_no_results_behind(bench: Bench) -> None:
    """A function that should return a number, but leaves the program: there is nothing to return."""
    module = wat("""(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (func (export "run") (result i32) (call $exit (i32.const 0)) (i32.const 9)))""")
    end, _ = await bench.run(module, "run")
    assert end.outcome is not Outcome.LOST
    assert end.results == ()
    assert await bench.value("sandbox_numbers", "add", 1, 1) == 2


async def test_a_write_within_a_trap_is_delivered(bench: Bench) -> None:
    module = wat("""(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\\10\\00\\00\\00\\05\\00\\00\\00") (data (i32.const 16) "panic")
        (func (export "_start")
          (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8))) unreachable))""")
    end, listener = await bench.run(module)
    assert (end.outcome, listener.text(Stream.STDERR)) == (Outcome.TRAP, b"panic")


async def test_an_initializer_that_fails_ends_the_call(bench: Bench) -> None:
    for body, outcome in (("unreachable", Outcome.TRAP), ("(loop br 0)", Outcome.TIMEOUT)):
        module = wat(f"""(module (import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))
            (memory (export "memory") 1)
            (func (export "_initialize") {body}) (func (export "run") (result i32) (i32.const 1)))""")
        end, _ = await bench.run(module, "run", timeout=0.1)
        assert end.outcome is outcome


async def test_wasi_without_a_memory(bench: Bench) -> None:
    module = wat("""(module (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $p (param i32 i32 i32 i32) (result i32)))
        (func (export "write") (result i32) (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (func (export "poll") (result i32) (call $p (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))))""")
    for function in ("write", "poll"):
        end, _ = await bench.run(module, function)
        assert end.outcome in {Outcome.OK, Outcome.TRAP}
        assert end.outcome is Outcome.TRAP or end.results[0] != 0
