"""Host functions: granted ones work, bad pointers end the guest only, everything else is denied."""

from __future__ import annotations

from pathlib import Path

import pytest
import wasmtime

from hibana_server.domain.executions import Outcome, Stream
from hibana_server.sandbox.frames import LOG_OVERHEAD
from hibana_server.sandbox.imports import WASI_FUNCTIONS, WASI_SOCKETS
from tests.framework.guests import Bench
from tests.framework.wasm import wat
from tests.integration.sandbox.conftest import OpenPool

BOTH = frozenset({"env.abort", "env.log"})


async def test_abort_tells_its_message(bench: Bench) -> None:
    end, _ = await bench.run("sandbox_host", "abort", host_functions=BOTH)
    assert end.outcome is Outcome.TRAP
    assert end.failure is not None
    assert end.failure.code == "HOST_ABORT"
    assert "broken" in end.failure.message
    assert "line 7" in end.failure.message


@pytest.mark.parametrize("pointer", [0, 2, 4, 65535, 65536, 65540, -1, -(2**31), 2048])
async def test_abort_with_a_bad_pointer_is_still_an_abort(bench: Bench, pointer: int) -> None:
    end, _ = await bench.run("sandbox_host", "abort_badly", pointer, host_functions=BOTH)
    assert end.failure is not None
    assert (end.outcome, end.failure.code) == (Outcome.TRAP, "HOST_ABORT")
    assert end.failure.message.isprintable()


async def test_abort_without_arguments(bench: Bench) -> None:
    module = wasmtime.wat2wasm('(module (import "env" "abort" (func $a)) (func (export "run") (call $a)))')
    end, _ = await bench.run(bytes(module), "run")
    assert end.failure is not None
    assert end.failure.code == "HOST_ABORT"


@pytest.mark.parametrize(("given", "level"), [(-5, 0), (0, 0), (3, 3), (4, 4), (99, 4)])
async def test_log_lines_are_output(bench: Bench, given: int, level: int) -> None:
    end, listener = await bench.run("sandbox_host", "log", given, host_functions=BOTH)
    assert end.outcome is Outcome.OK
    (piece,) = listener.pieces
    assert (piece.stream, piece.data, piece.level) == (Stream.LOG, "hällo".encode(), level)


async def test_log_text_is_made_valid(bench: Bench) -> None:
    _, listener = await bench.run("sandbox_host", "log_bad_text", host_functions=BOTH)
    assert listener.text(Stream.LOG).decode() == "bad �� bytes"


@pytest.mark.parametrize(("pointer", "length"), [(-1, 2), (65535, 2), (65536, 1), (0, -1), (-1, -1), (65000, 4096)])
async def test_log_outside_memory_ends_the_guest(bench: Bench, pointer: int, length: int) -> None:
    end, listener = await bench.run("sandbox_host", "log_range", pointer, length, host_functions=BOTH)
    if end.outcome is Outcome.OK:  # a length over 4 KiB is cut before it is checked
        assert len(listener.text(Stream.LOG)) <= 4096
    else:
        assert end.outcome is Outcome.TRAP
        assert end.failure is not None
        assert "env.log" in end.failure.message


async def test_a_long_log_line_is_cut(bench: Bench) -> None:
    end, listener = await bench.run("sandbox_host", "log_range", 0, 60_000, host_functions=BOTH)
    assert end.outcome is Outcome.OK
    assert len(listener.text(Stream.LOG)) <= 4096


async def test_a_flood_of_log_lines_meets_the_output_limit(bench: Bench) -> None:
    end, listener = await bench.run("sandbox_host", "log_forever", host_functions=BOTH, output_bytes=60_000)
    assert end.outcome is Outcome.OUTPUT_LIMIT
    # A line counts more than its bytes, or the shortest ones would cost the front the most.
    assert len(listener.pieces) == 60_000 // (6 + LOG_OVERHEAD)
    assert listener.text(Stream.LOG) == "hällo".encode() * len(listener.pieces)


async def test_a_function_that_was_not_granted_is_denied(bench: Bench) -> None:
    end, _ = await bench.run("sandbox_host", "log", 1, host_functions=frozenset({"env.abort"}))
    assert end.outcome is Outcome.DENIED
    assert end.failure is not None
    assert "env.log" in end.failure.message


async def test_what_one_call_was_granted_the_next_is_not(bench: Bench) -> None:
    for _ in range(3):
        end, _ = await bench.run("sandbox_host", "log", 1, host_functions=BOTH)
        assert end.outcome is Outcome.OK
        end, _ = await bench.run("sandbox_host", "log", 1, host_functions=frozenset({"env.abort"}))
        assert end.outcome is Outcome.DENIED


@pytest.mark.parametrize(
    "wanted",
    [
        '(import "env" "log" (func (param i64)))',
        '(import "env" "abort" (func (param i32)))',
        '(import "env" "log" (memory 1))',
        '(import "env" "log" (global i32))',
        '(import "env" "fetch" (func (param i32 i32) (result i32)))',
        '(import "env" "system" (func))',
        '(import "wasi_snapshot_preview1" "sock_send" (func (param i32 i32) (result i32)))',
        '(import "wasi_snapshot_preview1" "sock_open" (func (param i32 i32 i32) (result i32)))',
        '(import "wasi_snapshot_preview1" "fd_write" (func (param i32) (result i32)))',
        '(import "\\1b[2J" "\\00" (func))',
    ],
)
async def test_other_imports_and_other_types_are_denied(bench: Bench, wanted: str) -> None:
    module = bytes(wasmtime.wat2wasm(f'(module {wanted} (func (export "run")))'))
    end, _ = await bench.run(module, "run", host_functions=BOTH)
    assert end.outcome is Outcome.DENIED
    assert end.failure is not None
    assert end.failure.message.isprintable()
    assert await bench.value("sandbox_numbers", "add", 1, 1) == 2


async def test_glue_traps_when_called(bench: Bench) -> None:
    end, _ = await bench.run("sandbox_glue", "now")
    assert end.outcome is Outcome.TRAP
    assert end.failure is not None
    assert "__wbg_now_0123" in end.failure.message


async def test_assemblyscripts_seed_and_trace(bench: Bench) -> None:
    first, second = [await bench.value("sandbox_glue", "seed") for _ in range(2)]
    assert 0 <= first < 1
    assert first != second
    end, _ = await bench.run("sandbox_glue", "trace")
    assert end.outcome is Outcome.OK


ENOTSUP = 58


@pytest.mark.parametrize("name", sorted(WASI_SOCKETS))
@pytest.mark.parametrize("given", [0, 1, 3, 65535, 65536, -1, -(2**31)])
async def test_sockets_are_not_supported_and_touch_nothing(bench: Bench, name: str, given: int) -> None:
    """Whatever descriptor, pointer and length a guest passes: the error code, and its memory stays as it was."""
    count = len(WASI_FUNCTIONS[name].parameters)
    passed = "(local.get 0) " * count
    module = wat(
        f"""(module
          (import "wasi_snapshot_preview1" "{name}" (func $call (param {"i32 " * count}) (result i32)))
          (memory (export "memory") 1)
          (func (export "run") (param i32) (result i32 i32)
            (local $at i32) (local $sum i32) (local $code i32)
            (local.set $code (call $call {passed}))
            (loop $next
              (local.set $sum (i32.or (local.get $sum) (i32.load (local.get $at))))
              (local.set $at (i32.add (local.get $at) (i32.const 4)))
              (br_if $next (i32.lt_u (local.get $at) (i32.const 65536))))
            (local.get $code) (local.get $sum)))"""
    )
    end, listener = await bench.run(module, "run", given)
    assert end.outcome is Outcome.OK
    assert end.results == (ENOTSUP, 0)
    assert not listener.pieces


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("\\1b[2Jx\\e2\\80\\ae", "[2Jx"),
        ("one\\0atwo\\09three\\0a", "one\ntwo    three"),
        ("\\0d\\07\\00", ""),
        ("\\ff" * 4096, "\ufffd" * 1364 + "…"),
        ("a" + "\\c3\\a9" * 3000, "a" + "é" * 2046 + "…"),
    ],
)
async def test_log_lines_are_text_for_any_terminal(bench: Bench, written: str, shown: str) -> None:
    length = len(written) - 2 * written.count("\\")  # an escaped byte takes three characters
    module = wat(f"""(module (import "env" "log" (func $log (param i32 i32 i32)))
        (memory (export "memory") 1) (data (i32.const 8) "{written}")
        (func (export "run") (call $log (i32.const 1) (i32.const 8) (i32.const {length}))))""")
    end, listener = await bench.run(module, "run", host_functions=BOTH)
    assert end.outcome is Outcome.OK
    assert listener.text(Stream.LOG).decode() == shown
    assert len(listener.text(Stream.LOG)) <= 4096


async def test_functions_of_modules_that_are_gone_are_forgotten(open_pool: OpenPool) -> None:
    """Names of glue are the guest's choice: they must not pile up."""
    async with open_pool(max_sandboxes=1, module_cache_bytes=0) as bench:
        (pid,) = bench.workers()
        sizes, turn, module = [], 0, b""
        for turn in range(60):
            imports = "".join(f'(import "wbg" "f{turn}_{number}" (func))' for number in range(200))
            module = wat(f'(module {imports} (func (export "rest")) (func (export "run") (call 199)))')
            end, _ = await bench.run(module, "rest")
            assert end.outcome is Outcome.OK
            sizes.append(_data_kib(pid))
        assert bench.workers() == [pid]
        end, _ = await bench.run(module, "run")
        assert end.failure is not None
        assert f"f{turn}_199" in end.failure.message
        # The interpreter takes memory in pieces of 1 MiB, and may need one more at any time; names would take many.
        assert sizes[-1] - sizes[20] <= 1024


def _data_kib(pid: int) -> int:
    """Return how much private writable memory a process has mapped."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1])
    raise AssertionError(pid)
