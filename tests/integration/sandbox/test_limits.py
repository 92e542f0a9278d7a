"""Limits of guests and of the process around them, at their edges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import wasmtime

from hibana_server.domain.executions import Cache, Outcome
from hibana_server.domain.sandboxes import Artifact
from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.sandbox.gate.limits import limits_of
from hibana_server.sandbox.worker.engine import compile_config
from tests.framework.guests import MIB, Bench
from tests.framework.promptness import within
from tests.framework.wasm import function_type, leb, module, name, section, vector, wat
from tests.integration.sandbox.conftest import OpenPool


@pytest.mark.parametrize("tier", list(Tier))
async def test_a_guest_may_touch_all_of_its_tiers_memory(bench: Bench, tier: Tier) -> None:
    size = DEFAULT_POLICIES[tier].memory_bytes
    sandbox, listener = await bench.start(bench.job("sandbox_touch", "all", memory_bytes=size), tier)
    end = await listener.end()
    assert (end.outcome, end.results) == (Outcome.OK, (size // 65536,))
    assert end.usage.memory_bytes == size
    # Its worker goes on, with all of that given back.
    pid = sandbox._worker.pid
    for _ in range(2):
        _, listener = await bench.start(bench.job("sandbox_numbers", "add", 1, 1), tier)
        assert (await listener.end()).outcome is Outcome.OK
    statm = Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()
    assert int(statm[1]) * 4096 < 100 * MIB


async def test_another_limit_for_each_call_of_one_worker(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=1) as bench:
        for mib in (50, 1, 7, 50, 2):
            assert await bench.value("sandbox_touch", "all", memory_bytes=mib * MIB) == mib * 16


async def test_memory_that_is_not_exported_is_bounded_and_measured(bench: Bench) -> None:
    code = wat("""(module (memory 1) (func (export "run") (result i32)
        (loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) memory.size))""")
    end, _ = await bench.run(code, "run", memory_bytes=2 * MIB)
    assert (end.outcome, end.results, end.usage.memory_bytes) == (Outcome.OK, (32,), 2 * MIB)


async def test_a_table_grows_up_to_the_pool(bench: Bench) -> None:
    code = wat("""(module (table $t 1 funcref) (func (export "run") (param i32) (result i32)
        (table.grow $t (ref.null func) (local.get 0))))""")
    assert await bench.value(code, "run", 10_000) == 1
    assert await bench.value(code, "run", -1) == -1
    assert await bench.value(code, "run", 10_000_000) == -1


async def test_stack_overflow_by_call_indirect(bench: Bench) -> None:
    for _ in range(3):
        end, _ = await bench.run("sandbox_touch", "indirect")
        assert end.outcome is Outcome.STACK
        assert await bench.value("sandbox_numbers", "add", 1, 1) == 2


async def test_a_large_frame_at_the_end_of_the_stack(bench: Bench) -> None:
    """Host functions need stack of their own below the guest's."""
    locals_ = " ".join(["i64"] * 2000)
    zeros = "(i32.const 0) (i32.const 0)" + "(f64.const 0)" * 5
    code = wat(f"""(module (import "env" "trace" (func $trace (param i32 i32 f64 f64 f64 f64 f64)))
        (func $deep (export "run") (param i32) (result i32) (local {locals_})
          (call $trace {zeros})
          (i32.add (call $deep (local.get 0)) (i32.const 1))))""")
    end, _ = await bench.run(code, "run", 0)
    assert end.outcome is Outcome.STACK


@pytest.mark.slow
async def test_every_trap_costs_its_worker_and_nothing_else(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=2) as bench:
        kinds = ["UNREACHABLE", "INTEGER_DIVISION_BY_ZERO", "MEMORY_OUT_OF_BOUNDS", "BAD_SIGNATURE"]
        jobs = [bench.job("sandbox_traps", kind) for kind in kinds]
        for turn in range(400):
            _, listener = await bench.start(jobs[turn % len(jobs)])
            end = await listener.end()
            assert end.failure is not None
            assert end.failure.code == kinds[turn % len(jobs)]
        assert bench.pool.stats()["started_total"] >= 400
        assert bench.pool.stats().get("crashed_total", 0) == 0
        assert await bench.value("sandbox_numbers", "add", 40, 2) == 42


async def test_a_late_tick_never_ends_the_next_call(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=1) as bench:
        spin = wat("""(module (func (export "run") (param i32) (result i32)
            (loop $more (br_if $more (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))) (local.get 0)))""")
        outcomes = set()
        for turn in range(200):
            # About a millisecond of work against a limit of one.
            end, _ = await bench.run(spin, "run", 200_000 + 20_000 * (turn % 100), timeout=0.001)
            outcomes.add(end.outcome)
            assert end.outcome in {Outcome.OK, Outcome.TIMEOUT}
            end, _ = await bench.run(spin, "run", 1, timeout=5.0)
            assert (end.outcome, end.results) == (Outcome.OK, (0,))
        assert outcomes == {Outcome.OK, Outcome.TIMEOUT}


async def test_the_shortest_and_the_longest_time_limit(bench: Bench) -> None:
    end, _ = await within(0.5, lambda: bench.run("sandbox_traps", "loop", timeout=0.001))
    assert end.outcome is Outcome.TIMEOUT
    end, _ = await bench.run("sandbox_numbers", "add", 1, 1, timeout=86_400.0 * 3650)
    assert end.outcome is Outcome.OK


@pytest.mark.parametrize("tier", [Tier.USER, pytest.param(Tier.ADMIN, marks=pytest.mark.slow)])
@pytest.mark.timeout(300)  # compiling the largest module takes what the machine has to spare
async def test_what_the_gate_lets_through_fits_into_the_engines_pool(bench: Bench, tier: Tier) -> None:
    """A module at every limit that has a slot in the pool: tables, their elements, functions and globals."""
    limits = limits_of(DEFAULT_POLICIES[tier])
    indexes = b"".join(leb(number) for number in range(limits.functions))
    code = module(
        section(1, vector([function_type(results=b"\x7f")])),
        section(3, leb(limits.functions) + b"\0" * limits.functions),
        section(4, vector([b"\x70\0" + leb(limits.table_elements)] * limits.tables)),
        section(5, vector([b"\0" + leb(limits.memory_bytes // 65536)])),
        section(6, vector([b"\x7e\x01\x42\0\x0b"] * limits.globals)),
        section(7, vector([name("run") + b"\0\0"])),
        section(9, vector([b"\0\x41\0\x0b" + leb(min(limits.functions, limits.table_elements)) + indexes])),
        section(10, vector([leb(4) + b"\0\x41\x07\x0b"] * limits.functions)),
    )
    job = bench.job(code, "run", memory_bytes=limits.memory_bytes, result_types=("s32",))
    _, listener = await bench.start(job, tier)
    end = await listener.end()
    assert (end.outcome, end.results) == (Outcome.OK, (7,)), end


async def test_more_tables_than_the_pool_has_is_a_clear_outcome(bench: Bench) -> None:
    """The gate refuses such a module; should one get here all the same, its call ends and says why."""
    for table in ("(table 200000 funcref)", "(table 1 funcref)" * 5):
        end, _ = await bench.run(wat(f'(module {table} (func (export "run")))'), "run")
        assert end.outcome in {Outcome.TRAP, Outcome.LOST}
        assert end.failure is not None
        assert "table" in end.failure.message
        assert await bench.value("sandbox_numbers", "add", 1, 1) == 2


async def test_references_and_vectors_in_signatures_cannot_be_called(bench: Bench) -> None:
    code = wat("""(module
        (func (export "v") (param v128)) (func (export "e") (param externref))
        (func (export "f") (result funcref) ref.null func)
        (global (export "g") i32 (i32.const 1)) (func (export "ok") (result i32) i32.const 5))""")
    for function in ("v", "e", "f", "g"):
        end, _ = await bench.run(code, function, result_types=())
        assert end.outcome is Outcome.LOST
        assert end.failure is not None
        assert end.failure.message
    assert await bench.value(code, "ok") == 5


async def test_functions_without_a_usable_name(bench: Bench) -> None:
    long = "n" * 1_000_000
    code = wat(f'(module (func $f (@name "{long}") unreachable) (func (export "run") call $f))')
    end, _ = await bench.run(code, "run")
    assert end.failure is not None
    assert end.failure.backtrace[0].startswith("nnnn")
    assert all(len(frame) <= 256 for frame in end.failure.backtrace)
    names = b"\x01" + leb(5) + vector([b"\0" + name(b"\xff\xfe")])
    broken = wat('(module (func (export "run") unreachable))') + section(0, name("name") + names)
    end, _ = await bench.run(broken, "run")
    assert end.failure is not None
    assert (end.failure.code, len(end.failure.backtrace)) == ("UNREACHABLE", 1)


async def test_the_wrong_number_of_arguments_ends_the_call_only(bench: Bench) -> None:
    """The services check arguments first."""
    for arguments in ((), (1,), (1, 2, 3)):
        end, _ = await bench.run("sandbox_numbers", "add", *arguments)
        assert end.outcome is Outcome.LOST
        assert await bench.value("sandbox_numbers", "add", 1, 1) == 2


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "text", "other settings", "another program"])
async def test_an_artifact_that_does_not_load_ends_the_call_only(bench: Bench, tmp_path: Path, damage: str) -> None:
    good = bench.job("sandbox_numbers", "add", 1, 1)
    data = good.artifact.path.read_bytes()
    path = tmp_path / "artifact.cwasm"
    if damage == "other settings":
        config = compile_config()
        config.epoch_interruption = False
        data = bytes(wasmtime.Module(wasmtime.Engine(config), wat("(module)")).serialize())
    changed = {"empty": b"", "cut": data[: len(data) // 2], "text": b"(module)"}
    if damage != "missing":
        path.write_bytes(Path("/bin/true").read_bytes() if damage == "another program" else changed.get(damage, data))
    job = replace(good, artifact=Artifact(f"damaged {damage}", path, len(data), Cache.DISK))
    _, listener = await bench.start(job)
    end = await listener.end()
    assert end.outcome is Outcome.LOST
    assert end.failure is not None
    assert "could not be loaded" in end.failure.message
    assert str(tmp_path) not in end.failure.message
    assert await bench.value("sandbox_numbers", "add", 1, 1) == 2


async def test_one_module_in_two_tiers(bench: Bench) -> None:
    job = bench.job("sandbox_host", "log", 1, host_functions=frozenset({"env.abort", "env.log"}))
    refused = bench.job("sandbox_host", "log", 1, host_functions=frozenset({"env.abort"}))
    for _ in range(2):
        for tier, each, outcome in ((Tier.SYSTEM, job, Outcome.OK), (Tier.USER, refused, Outcome.DENIED)):
            _, listener = await bench.start(each, tier)
            assert (await listener.end()).outcome is outcome
