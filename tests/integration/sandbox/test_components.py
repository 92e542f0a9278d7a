"""Components run like every other module: values in and out, the same outcomes, the same limits."""

from __future__ import annotations

import pytest

from hibana_server.domain.executions import Outcome
from tests.framework.guests import MIB, Bench, described, wasm
from tests.framework.wasm import wat

ECHO = "component_echo"


async def call(bench: Bench, function: str, *values: object, **rest: object) -> object:
    return await bench.result(ECHO, "", function, *values, **rest)


async def test_values_of_a_component(bench: Bench) -> None:
    assert await call(bench, "add", 2, 40) == 42
    assert await call(bench, "text", "火花 \0 text") == "火花 \0 text"
    assert await call(bench, "bytes", bytes(range(256)) * 10) == bytes(range(256)) * 10
    assert await call(bench, "bytes", b"") == b""


@pytest.mark.parametrize(
    ("function", "values", "outcome", "code"),
    [
        ("trap", (), Outcome.TRAP, "UNREACHABLE"),
        ("divide", (0,), Outcome.TRAP, "INTEGER_DIVISION_BY_ZERO"),
        ("deep", (), Outcome.STACK, "STACK_OVERFLOW"),
        ("spin", (), Outcome.TIMEOUT, ""),
        ("text-at", (0, 0xFFFF_FFFF), Outcome.BAD_OUTPUT, ""),
        ("text-at", (0xFFFF_FFFF, 2), Outcome.BAD_OUTPUT, ""),
        ("list-at", (0, 0x4000_0000), Outcome.BAD_OUTPUT, ""),
        ("list-at", (2, 1), Outcome.BAD_OUTPUT, ""),
        ("char-of", (0xD800, 0), Outcome.BAD_OUTPUT, ""),
        ("char-of", (0x11_0000, 0), Outcome.BAD_OUTPUT, ""),
    ],
)
async def test_ends_of_a_component(
    bench: Bench, function: str, values: tuple[int, ...], outcome: Outcome, code: str
) -> None:
    end, _ = await bench.call(ECHO, "", function, *values, timeout=0.3)
    assert (end.outcome, end.failure and end.failure.code) == (outcome, code), end


async def test_memory_of_a_component_is_bounded_by_its_limit(bench: Bench) -> None:
    assert await call(bench, "grow", 31, memory_bytes=2 * MIB) == 1
    assert await call(bench, "grow", 32, memory_bytes=2 * MIB) == -1


async def test_memory_of_a_component_is_told(bench: Bench) -> None:
    end, _ = await bench.call(ECHO, "", "grow", 319)
    assert 20 * MIB <= end.usage.memory_bytes < 22 * MIB


async def test_an_interface_that_only_names_types_need_not_be_provided(bench: Bench) -> None:
    facts = described(wasm("component_named_types"))
    assert [(each.module, each.granted) for each in facts.imports] == [("examples:shapes/types@1.0.0", True)]
    assert facts.findings == ()
    assert await bench.result("component_named_types", "", "turn", "small") == "large"


async def test_parts_of_a_component_pass_values_to_each_other(bench: Bench) -> None:
    assert await bench.result("component_parts", "", "echo", "from memory to memory \N{FIRE}") == (
        "from memory to memory \N{FIRE}"
    )


GROWING = """(core module $m (memory (export "memory") 1)
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"""


def growing(instances: int) -> bytes:
    """Return a component of several memories, each with a function that grows it."""
    made = "".join(f"(core instance $i{index} (instantiate $m))" for index in range(instances))
    functions = "".join(
        f'(func (export "grow{index}") (param "pages" u32) (result s32) (canon lift (core func $i{index} "grow")))'
        for index in range(instances)
    )
    return wat(f"(component {GROWING} {made} {functions})")


async def test_memories_of_one_component_share_the_limit(bench: Bench) -> None:
    code = growing(4)
    for index in range(4):
        assert await bench.result(code, "", f"grow{index}", 7, memory_bytes=2 * MIB) == 1
        assert await bench.result(code, "", f"grow{index}", 8, memory_bytes=2 * MIB) == -1


START = "(component (core module $m (func $s {}) (start $s)) (core instance (instantiate $m)) {})"


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ("(loop $again (br $again))", Outcome.TIMEOUT),
        ("(call $s)", Outcome.STACK),
        ("unreachable", Outcome.TRAP),
    ],
)
async def test_start_functions_of_a_component_are_bounded_as_well(bench: Bench, body: str, outcome: Outcome) -> None:
    export = '(core module $n (func (export "f"))) (core instance $j (instantiate $n))'
    export += '(func (export "f") (canon lift (core func $j "f")))'
    end, _ = await bench.call(wat(START.format(body, export)), "", "f", timeout=0.3)
    assert end.outcome is outcome, end


REALLOC = """(component
  (core module $m (memory (export "memory") 1)
    (func $realloc (export "realloc") (param i32 i32 i32 i32) (result i32) {body})
    (func (export "f") (param i32 i32)))
  (core instance $i (instantiate $m))
  (func (export "f") (param "text" string)
    (canon lift (core func $i "f") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
  (func (export "g") (param "data" (list u8))
    (canon lift (core func $i "f") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"""


@pytest.mark.parametrize("function", ["f", "g"])
@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ("unreachable", Outcome.TRAP),
        ("(i32.const -1)", Outcome.BAD_OUTPUT),
        ("(i32.const 65535)", Outcome.BAD_OUTPUT),
        ("(loop $again (br $again)) unreachable", Outcome.TIMEOUT),
        ("(call $realloc (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))", Outcome.STACK),
    ],
)
async def test_an_allocator_that_lies_or_fails_ends_the_call(
    bench: Bench, function: str, body: str, outcome: Outcome
) -> None:
    value = "text" if function == "f" else b"text"
    end, _ = await bench.call(wat(REALLOC.format(body=body)), "", function, value, timeout=0.3)
    assert end.outcome is outcome, end


async def test_text_that_is_no_utf8_is_no_output(bench: Bench) -> None:
    module = '(memory (export "memory") 1) (data (i32.const 8) "\\ff\\fe") (data (i32.const 0) "\\08\\00\\00\\00\\02")'
    code = wat(f"""(component (core module $m {module} (func (export "f") (result i32) (i32.const 0)))
      (core instance $i (instantiate $m))
      (func (export "f") (result string) (canon lift (core func $i "f") (memory (core memory $i "memory")))))""")
    end, _ = await bench.call(code, "", "f")
    assert end.outcome is Outcome.BAD_OUTPUT, end


async def test_more_values_than_a_result_holds_are_no_output(bench: Bench) -> None:
    for size, outcome in (
        (12_000, Outcome.OK),
        (60_000, Outcome.BAD_OUTPUT),
        (2_000_000, Outcome.BAD_OUTPUT),
        (5_000_000, Outcome.OUTPUT_LIMIT),
    ):
        pages = size * 4 // 65_536 + 1
        lift = '(canon lift (core func $i "f") (memory (core memory $i "memory")))'
        code = wat(f"""(component
          (core module $m (memory (export "memory") {pages}) (func (export "f") (result i32)
            (i32.store (i32.const 0) (i32.const 0)) (i32.store (i32.const 4) (i32.const {size})) (i32.const 0)))
          (core instance $i (instantiate $m))
          (func (export "f") (result (list u32)) {lift}))""")
        end, _ = await bench.call(code, "", "f")
        assert end.outcome is outcome, (size, end)
    assert await call(bench, "add", 1, 1) == 2


async def test_a_component_does_not_enter_itself(bench: Bench) -> None:
    code = wat("""(component
      (core module $table (table (export "t") 1 funcref)
        (func (export "call") (call_indirect (i32.const 0))))
      (core instance $t (instantiate $table))
      (func $f (canon lift (core func $t "call")))
      (core func $again (canon lower (func $f)))
      (core module $fill (import "t" "t" (table 1 funcref)) (import "h" "f" (func $f)) (elem (i32.const 0) func $f))
      (core instance (instantiate $fill (with "t" (instance $t)) (with "h" (instance (export "f" (func $again))))))
      (func (export "f") (canon lift (core func $t "call"))))""")
    end, _ = await bench.call(code, "", "f")
    assert end.failure
    assert end.outcome is Outcome.TRAP, end
    assert await call(bench, "add", 1, 1) == 2


async def test_calls_of_a_component_share_nothing(bench: Bench) -> None:
    code = wat("""(component
      (core module $m (global $n (mut i32) (i32.const 0)) (func (export "f") (result i32)
        (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n)))
      (core instance $i (instantiate $m)) (func (export "f") (result u32) (canon lift (core func $i "f"))))""")
    assert [await bench.result(code, "", "f") for _ in range(4)] == [1] * 4


async def test_values_that_take_more_than_a_worker_has_end_that_call_alone(bench: Bench) -> None:
    name = "a" * 200
    code = wat(f"""(component (core module $m (memory (export "memory") 8) (func (export "f") (result i32)
      (i32.store (i32.const 0) (i32.const 8)) (i32.store (i32.const 4) (i32.const 400000)) (i32.const 0)))
      (core instance $i (instantiate $m)) (type $r (record (field "{name}" u8))) (export $o "r" (type $r))
      (func (export "f") (result (list $o)) (canon lift (core func $i "f") (memory (core memory $i "memory")))))""")
    end, _ = await bench.call(code, "", "f")
    assert end.failure
    assert end.outcome in {Outcome.LOST, Outcome.OUTPUT_LIMIT, Outcome.BAD_OUTPUT}, end
    assert await call(bench, "add", 1, 1) == 2
