"""What the gate learns from a module, and how it judges imports."""

from __future__ import annotations

import pytest

from hibana_server.domain.modules import Convention, ModuleFacts, Severity
from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.sandbox.gate.inspect import inspect
from tests.framework.wasm import function_type, module, name, resvg, section, vector, wat

ABORT = '(import "env" "abort" (func (param i32 i32 i32 i32)))'
LOG = '(import "env" "log" (func (param i32 i32 i32)))'
FETCH = '(import "env" "fetch" (func (param i32 i32) (result i32)))'
ALLOC = '(func (export "alloc")) (func (export "dealloc"))'
FD_WRITE = '(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))'


def look(data: bytes | str, tier: Tier = Tier.USER) -> ModuleFacts:
    return inspect(wat(data) if isinstance(data, str) else data, tier, DEFAULT_POLICIES[tier])


def exporting(*names: str | bytes) -> bytes:
    exports = [name(each) + b"\0\0" for each in names]
    return module(
        section(1, vector([function_type()])),
        section(3, b"\x01\0"),
        section(7, vector(exports)),
        section(10, vector([b"\x02\0\x0b"])),
    )


def test_exports_have_types_in_wit_spelling() -> None:
    facts = look("""(module
        (func (export "mix") (param i32 i64 f32 f64) (result i64 f64) i64.const 1 f64.const 2)
        (func (export "vector") (param v128))
        (func (export "handle") (result externref) ref.null extern)
        (func $f (export "callback") (param funcref))
        (func (export "nothing"))
        (memory (export "memory") 1))""")
    mix, *others = facts.exports
    assert [(p.name, p.type) for p in mix.parameters] == [("p0", "s32"), ("p1", "s64"), ("p2", "f32"), ("p3", "f64")]
    assert mix.results == ("s64", "f64")
    assert mix.callable
    assert [(e.name, e.callable) for e in others] == [
        ("vector", False),
        ("handle", False),
        ("callback", False),
        ("nothing", True),
    ]
    assert others[0].parameters[0].type == "v128"
    assert others[1].results == ("externref",)
    assert others[2].parameters[0].type == "funcref"


def test_a_name_that_cannot_be_shown_cannot_be_called() -> None:
    facts = look(exporting("run", "run\x1b[2J", "n" * 300, "gr\u00fc\u00df", "\u202enur"))
    assert [(e.name[:8], e.callable) for e in facts.exports] == [
        ("run", True),
        ("run[2J", False),
        ("nnnnnnnn", False),
        ("gr\u00fc\u00df", True),
        ("nur", False),
    ]
    assert all(len(e.name) <= 256 for e in facts.exports)


@pytest.mark.parametrize(
    ("memory", "pages", "maximum"),
    [("(memory 2 16)", 2, 16), ("(memory 3)", 3, None), ("", 0, None)],
)
def test_memory(memory: str, pages: int, maximum: int | None) -> None:
    facts = look(f"(module {memory})")
    assert (facts.memory_pages, facts.max_memory_pages) == (pages, maximum)


def test_maximum_beyond_the_tier_is_told_and_runs() -> None:
    facts = look('(module (memory 1 65536) (func (export "f")))')
    assert [f.code for f in facts.findings] == ["MEMORY_CAPPED"]
    assert facts.runnable


@pytest.mark.parametrize(
    ("imports", "granted"),
    [
        (ABORT, {Tier.USER, Tier.SYSTEM, Tier.ADMIN}),
        ('(import "env" "abort" (func))', {Tier.USER, Tier.SYSTEM, Tier.ADMIN}),
        (LOG, {Tier.SYSTEM, Tier.ADMIN}),
        (FETCH, set()),
        (FD_WRITE, {Tier.USER, Tier.SYSTEM, Tier.ADMIN}),
        ('(import "env" "seed" (func (result f64)))', {Tier.USER, Tier.SYSTEM, Tier.ADMIN}),
        ('(import "env" "trace" (func (param i32 i32 f64 f64 f64 f64 f64)))', {Tier.USER, Tier.SYSTEM, Tier.ADMIN}),
        ('(import "wbg" "__wbg_now_1" (func (param i64) (result externref)))', {Tier.USER, Tier.SYSTEM, Tier.ADMIN}),
        ('(import "./photon_rs_bg.js" "x" (func))', {Tier.USER, Tier.SYSTEM, Tier.ADMIN}),
        ('(import "__wbindgen_placeholder__" "x" (func))', {Tier.USER, Tier.SYSTEM, Tier.ADMIN}),
        ('(import "./a/b_bg.js" "x" (func))', set()),
        ('(import "env" "abort" (func (param i64)))', set()),
        ('(import "env" "log" (func (param i32 i32)))', set()),
        ('(import "env" "seed" (func (result i32)))', set()),
        ('(import "env" "exec" (func))', set()),
        ('(import "Env" "abort" (func))', set()),
        (
            '(import "wasi_snapshot_preview1" "sock_send" (func (param i32 i32 i32 i32 i32) (result i32)))',
            {Tier.USER, Tier.SYSTEM, Tier.ADMIN},
        ),
        ('(import "wasi_snapshot_preview1" "sock_send" (func (param i32 i32) (result i32)))', set()),
        ('(import "wasi_snapshot_preview1" "sock_open" (func (param i32 i32 i32) (result i32)))', set()),
        ('(import "wasi_snapshot_preview1" "fd_write" (func (param i32)))', set()),
        ('(import "wasi_snapshot_preview1" "fork" (func))', set()),
        ('(import "wasi_unstable" "fd_close" (func (param i32) (result i32)))', set()),
        ('(import "wbg" "memory" (memory 1))', set()),
        ('(import "env" "memory" (memory 1))', set()),
        ('(import "env" "table" (table 1 funcref))', set()),
        ('(import "env" "base" (global i32))', set()),
    ],
)
def test_imports_are_judged_by_tier(imports: str, granted: set[Tier]) -> None:
    text = f'(module {imports} (func (export "f")))'
    for tier in Tier:
        facts = look(text, tier)
        assert facts.imports[0].granted is (tier in granted)
        assert facts.runnable is (tier in granted)
        if tier not in granted:
            finding = facts.findings[0]
            assert (finding.code, finding.severity) == ("IMPORT_NOT_GRANTED", Severity.ERROR)
            assert f"{facts.imports[0].module}.{facts.imports[0].name}" in finding.text
            assert tier.value in finding.text
            assert finding.fix


def test_imports_show_their_types() -> None:
    facts = look("""(module
        (import "env" "a" (func (param i32 i64) (result i32)))
        (import "env" "b" (func (result i32 f64)))
        (import "env" "c" (memory 1 2))
        (import "env" "d" (table 3 externref))
        (import "env" "e" (global (mut i64))))""")
    assert [(i.kind, i.type) for i in facts.imports] == [
        ("function", "(s32, s64) -> s32"),
        ("function", "() -> (s32, f64)"),
        ("memory", "1..2 pages"),
        ("table", "externref 3.."),
        ("global", "mut s64"),
    ]


# As the toolchains write them: Emscripten -O3, Go's GOOS=js.
EMSCRIPTEN = """(import "a" "a" (func (param i32 i32))) (import "a" "b" (func (param i32) (result i32)))
  (memory (export "c") 256 256) (table (export "e") 1 funcref) (func (export "d")) (func (export "f") (param i32))"""
GO = """(import "gojs" "runtime.scheduleTimeoutEvent" (func (param i32)))
  (import "gojs" "syscall/js.valueGet" (func (param i32))) (memory (export "mem") 18)
  (func (export "run") (param i32 i32))"""


@pytest.mark.parametrize(
    ("imports", "named", "fix"),
    [
        ('(import "env" "napi_create_function" (func))', "env.napi_create_function", "wasm-bindgen"),
        (EMSCRIPTEN, "a.a", "-sSTANDALONE_WASM"),
        (GO, "gojs.runtime.scheduleTimeoutEvent", "GOOS=wasip1"),
        (
            '(import "env" "memory" (memory 1)) (import "env" "__memory_base" (global i32))',
            "env.__memory_base",
            "statically",
        ),
        ('(import "env" "setjmp" (func (param i32) (result i32)))', "env.setjmp", "without setjmp"),
    ],
)
def test_modules_for_javascript_hosts_are_named(imports: str, named: str, fix: str) -> None:
    facts = look(f"(module {imports})")
    assert facts.findings[0].code == "KIND_UNSUPPORTED"
    assert named in facts.findings[0].text
    assert fix in facts.findings[0].fix
    assert not facts.runnable


def test_findings_are_bounded() -> None:
    imports = "".join(f'(import "env" "f{i}" (func))' for i in range(200))
    facts = look(f"(module {imports})")
    errors = [f for f in facts.findings if f.severity is Severity.ERROR]
    assert len(errors) == 32
    assert "169 more imports" in errors[-1].text
    assert not any(i.granted for i in facts.imports)


@pytest.mark.parametrize(
    ("text", "convention"),
    [
        ('(func (export "add") (param i32) (result i32) local.get 0)', Convention.CORE),
        (FD_WRITE + '(func (export "_start"))', Convention.WASI_COMMAND),
        (FD_WRITE + '(func (export "_initialize"))', Convention.WASI_REACTOR),
        ('(func (export "_start"))', Convention.CORE),
        (
            ALLOC + '(func (export "f") (param i32 i32)(result i64) i64.const 0)',
            Convention.PACKED_BYTES,
        ),
        ('(func (export "malloc")) (func (export "free"))', Convention.CORE),
        (
            '(func (export "__new")) (func (export "__pin")) (global (export "__rtti_base") i32 i32.const 0)',
            Convention.ASSEMBLYSCRIPT,
        ),
        ('(import "wbg" "x" (func))', Convention.WASM_BINDGEN),
        ('(func (export "__wbindgen_malloc"))', Convention.WASM_BINDGEN),
        ('(func (export "__wbindgen_add_to_stack_pointer"))', Convention.WASM_BINDGEN),
    ],
)
def test_convention(text: str, convention: Convention) -> None:
    assert look(f"(module {text})").convention is convention


def test_wasi_without_its_memory_warns() -> None:
    facts = look(f'(module {FD_WRITE} (func (export "_start")))')
    assert "NO_MEMORY_EXPORT" in [f.code for f in facts.findings]


def test_a_library_that_wasm_bindgen_has_not_read_warns() -> None:
    facts = look('(module (func (export "f")) (func (export "__wbindgen_describe_f")))')
    assert "BINDGEN_NOT_RUN" in [f.code for f in facts.findings]


def test_real_program_passes_in_the_user_tier() -> None:
    facts = look(resvg())
    assert facts.convention is Convention.WASI_COMMAND
    assert facts.export("_start") is not None
    assert facts.memory_pages == 22
    assert len(facts.imports) == 16
    assert facts.findings == ()
