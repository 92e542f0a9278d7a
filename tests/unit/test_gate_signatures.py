"""Types that come with an upload: read in both forms, fitted to the module, and refused where they do not fit."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hibana_server.domain.modules import Convention, Export, ModuleFacts
from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.sandbox.gate.inspect import inspect
from hibana_server.sandbox.gate.signatures import SignaturesWrongError, read_signatures
from hibana_server.sandbox.gate.typing import WrongTypesError, with_types
from tests.framework.wasm import wat

BINDGEN = '(import "wbg" "__wbindgen_throw" (func (param i32 i32)))'
MEMORY = """
  (memory (export "memory") 1)
  (func (export "__wbindgen_malloc") (param i32 i32) (result i32) (i32.const 8))
  (func (export "__wbindgen_add_to_stack_pointer") (param i32) (result i32) (i32.const 8))
"""
STRIPPED = """
  (memory (export "memory") 1)
  (func (export "__wbindgen_export") (param i32 i32) (result i32) (i32.const 8))
  (func (export "__wbindgen_export2") (param i32 i32 i32 i32) (result i32) (i32.const 8))
  (func (export "__wbindgen_add_to_stack_pointer") (param i32) (result i32) (i32.const 8))
"""
PLAIN = """
  (memory (export "memory") 1)
  (func (export "malloc") (param i32) (result i32) (i32.const 8))
  (func (export "free") (param i32))
"""
ASSEMBLYSCRIPT = """
  (memory (export "memory") 1)
  (func (export "__new") (param i32 i32) (result i32) (i32.const 8))
  (func (export "__pin") (param i32) (result i32) (local.get 0))
"""


def described(text: str) -> ModuleFacts:
    return inspect(wat(f"(module {text})"), Tier.USER, DEFAULT_POLICIES[Tier.USER])


def function(name: str, types: str, body: str = "(unreachable)") -> str:
    """Write an exported function of core types `i32 i64 -> f64`."""
    parameters, _, results = types.partition("->")
    return f'(func (export "{name}") (param {parameters}) (result {results}) {body})'


def typed(module: str, text: str, name: str = "f") -> Export:
    export = with_types(described(module), text).export(name)
    assert export is not None
    return export


def spelled(export: Export) -> str:
    parameters = ", ".join(each.type for each in export.parameters)
    return f"{export.convention.value}: ({parameters}) -> {', '.join(export.results)}"


LISTED = [
    (STRIPPED, "i32 i32 i32 -> ", "f: func(a: string) -> string", "wasm_bindgen: (string) -> string"),
    (PLAIN, "i32 i32 -> i64", "f: func(a: string) -> string", "packed_bytes: (string) -> string"),
    (
        PLAIN,
        "i32 i32 -> i64",
        "f: func(a: list<u8>) -> option<list<u8>>;",
        "packed_bytes: (list<u8>) -> option<list<u8>>",
    ),
    (PLAIN, "i32 -> i32", "f: func(a: string) -> string", "c_strings: (string) -> string"),
    (
        PLAIN,
        "i32 -> i32",
        "f: func(a: option<string>) -> option<string>",
        "c_strings: (option<string>) -> option<string>",
    ),
    (PLAIN, "i32 i32 -> i32", "f: func(data: list<u8>) -> string", "c_strings: (list<u8>) -> string"),
    (PLAIN, "i32 -> i32", "f: func(a: u8) -> bool", "packed_bytes: (u8) -> bool"),
    (PLAIN, "i32 f64 -> i64", "f: func(a: s32, b: f64) -> s64", "core: (s32, f64) -> s64"),
    (BINDGEN + MEMORY, "i32 i32 i32 -> ", "f: func(a: string) -> string", "wasm_bindgen: (string) -> string"),
    (BINDGEN + MEMORY, "i32 i32 -> i32 i32", "f: func(a: string) -> string", "wasm_bindgen: (string) -> string"),
    (
        BINDGEN + MEMORY,
        "i32 -> i32 i32 i32",
        "f: func(a: u32) -> result<u32, string>",
        "wasm_bindgen: (u32) -> result<u32, string>",
    ),
    (BINDGEN + MEMORY, "i32 i32 -> i32", "f: func(a: s32, b: s32) -> s32", "core: (s32, s32) -> s32"),
    (BINDGEN + MEMORY, "i32 f64 -> ", "f: func(a: option<f64>)", "wasm_bindgen: (option<f64>) -> "),
    (
        BINDGEN + MEMORY,
        "f64 -> f64",
        "f: func(a: option<u32>) -> option<u32>",
        "wasm_bindgen: (option<u32>) -> option<u32>",
    ),
    (
        BINDGEN + MEMORY,
        "i32 i32 i32 -> ",
        "f: func(a: Float64Array) -> Int16Array",
        "wasm_bindgen: (list<f64>) -> list<s16>",
    ),
    (
        ASSEMBLYSCRIPT,
        "i32 i32 -> i32",
        "f: func(a: string, b: ArrayBuffer) -> Array<f64>",
        "assemblyscript: (string, list<u8>) -> list<f64>",
    ),
    (ASSEMBLYSCRIPT, "i32 -> i32", "f: func(a: option<string>) -> u8", "assemblyscript: (option<string>) -> u8"),
]


@pytest.mark.parametrize(("module", "core", "text", "told"), LISTED)
def test_a_list_of_signatures_types_the_functions(module: str, core: str, text: str, told: str) -> None:
    assert spelled(typed(module + function("f", core), text)) == told


DECLARED = [
    (BINDGEN + MEMORY, "i32 i32 i32 -> ", "(a: string): string", "wasm_bindgen: (string) -> string"),
    (
        BINDGEN + MEMORY,
        "i32 i32 i32 i32 -> ",
        "(a: Uint8Array, b: number): Uint8Array",
        "wasm_bindgen: (list<u8>, s32) -> list<u8>",
    ),
    (BINDGEN + MEMORY, "i32 i32 f64 -> i32", "(a: string, b: number): boolean", "wasm_bindgen: (string, f64) -> bool"),
    (BINDGEN + MEMORY, "i32 i64 -> ", "(a?: bigint): void", "wasm_bindgen: (option<s64>) -> "),
    (
        BINDGEN + MEMORY,
        "f64 i32 -> ",
        "(a?: number | null, b?: boolean): void",
        "wasm_bindgen: (option<f64>, option<bool>) -> ",
    ),
    (BINDGEN + MEMORY, "i32 i32 -> ", "(a: string | undefined): void", "wasm_bindgen: (option<string>) -> "),
    (BINDGEN + MEMORY, "i32 -> i32 i32", "(a: number): string | undefined", "wasm_bindgen: (s32) -> option<string>"),
    (BINDGEN + MEMORY, "i32 i32 -> ", "(a: number): void", "wasm_bindgen: (s32) -> "),
    (BINDGEN + MEMORY, "i32 -> i32", "(a: Level): number", "core: (s32) -> s32"),
    (BINDGEN + MEMORY, "i32 i32 -> i32", "(a: Uint8Array<ArrayBufferLike>): number", "wasm_bindgen: (list<u8>) -> s32"),
]


@pytest.mark.parametrize(("module", "core", "declared", "told"), DECLARED)
def test_declarations_type_the_functions(module: str, core: str, declared: str, told: str) -> None:
    text = f"""
      /* eslint-disable */
      /** What it does; export function no(a: string): void; */
      export function f{declared};
      export enum Level {{ Low = 0, High = 1 }}
      export class Other {{ free(): void; run(a: string): Promise<void>; }}
      export interface InitOutput {{ readonly f: (a: number) => void; }}
      export type SyncInitInput = BufferSource | WebAssembly.Module;
      export function initSync(module: {{ module: SyncInitInput }} | SyncInitInput): InitOutput;
      export default function __wbg_init (module_or_path?: InitInput | Promise<InitInput>): Promise<InitOutput>;
    """
    assert spelled(typed(module + function("f", core), text)) == told


def test_comments_of_assemblyscript_tell_its_own_types() -> None:
    text = """
      /** Exported memory */
      export declare const memory: WebAssembly.Memory;
      /**
       * assembly/index/f
       * @param a `~lib/array/Array<u16>`
       * @param b `u8`
       * @param c `~lib/string/String | null`
       * @returns `~lib/arraybuffer/ArrayBuffer`
       */
      export declare function f(a: Array<number>, b: number, c: string | null): ArrayBuffer;
    """
    export = typed(ASSEMBLYSCRIPT + function("f", "i32 i32 i32 -> i32"), text)
    assert spelled(export) == "assemblyscript: (list<u16>, u8, option<string>) -> list<u8>"
    assert [each.form for each in export.parameters] == ["Array", "", ""]
    assert [each.name for each in export.parameters] == ["a", "b", "c"]


def test_classes_are_typed_by_what_they_have() -> None:
    text = """
      export class Image {
        private constructor();
        free(): void;
        [Symbol.dispose](): void;
        constructor(raw: Uint8Array);
        /** How wide; a width(): string; it is not. */
        static from(text: string): Image | undefined;
        width(): number;
        readonly level: number;
        get ratio(): number;
        mix(other: Image, ...rest: any[]): Image;
        over(other?: Image): Image;
      }
      export function f(image: Image, level: number): void;
      export function g(a: string): string;
    """
    module = BINDGEN + MEMORY + function("f", "i32 i32 -> ") + function("g", "i32 i32 i32 -> ")
    module += function("image_new", "i32 i32 -> i32") + function("image_width", "i32 -> i32")
    module += function("image_from", "i32 i32 -> i32") + function("__wbg_get_image_level", "i32 -> f64")
    module += function("image_over", "i32 i32 -> i32") + function("__wbg_image_free", "i32 i32 -> ")
    found = {export.name: export for export in with_types(described(module), text).exports}
    assert {
        name: spelled(found[name]).partition(": ")[2].removesuffix(" -> ") for name in found if found[name].note
    } == {
        "f": "(borrow<Image>, s32)",
        "image_new": "(list<u8>) -> own<Image>",
        "image_width": "(borrow<Image>) -> s32",
        "image_from": "(string) -> option<own<Image>>",
        "__wbg_get_image_level": "(borrow<Image>) -> f64",
        "image_over": "(borrow<Image>, option<own<Image>>) -> own<Image>",
        "__wbg_image_free": "(own<Image>)",
    }
    assert all(each.callable and "session" in each.note for each in found.values() if each.note)
    assert found["g"].callable


def test_fields_may_be_missing_and_have_accessors() -> None:
    text = """
      export interface Options { level?: number; on?(event: string): void; inner?: { deep?: string } }
      export class Point {
        free(): void;
        x?: number;
        name?: string;
        'quoted name'?: string;
        label?(): string;
        get ratio(): number | undefined;
        set ratio(value: number | null | undefined);
        static get origin(): Point;
        static set origin(value: Point);
        near?: Point;
        scale(by?: number, text?: string): void;
      }
      export function f(a: string, ...rest: any[]): void;
    """
    module = BINDGEN + MEMORY + function("f", "i32 i32 i32 -> ") + function("point_scale", "i32 f64 i32 i32 -> ")
    module += function("__wbg_get_point_x", "i32 -> f64") + function("__wbg_set_point_x", "i32 f64 -> ")
    module += function("__wbg_get_point_name", "i32 -> i32 i32") + function("__wbg_set_point_name", "i32 i32 i32 -> ")
    module += function("point_ratio", "i32 i32 -> ") + function("point_set_ratio", "i32 i32 f64 -> ")
    module += function("__wbg_set_point_near", "i32 i32 -> ") + function("point_origin", " -> i32")
    found = {export.name: export for export in with_types(described(module), text).exports}
    assert {
        name: spelled(found[name]).partition(": ")[2].removesuffix(" -> ") for name in found if found[name].note
    } == {
        "f": "(s32, s32, s32)",
        "point_scale": "(borrow<Point>, option<f64>, option<string>)",
        "__wbg_get_point_x": "(borrow<Point>) -> option<f64>",
        "__wbg_set_point_x": "(borrow<Point>, option<f64>)",
        "__wbg_get_point_name": "(borrow<Point>) -> option<string>",
        "__wbg_set_point_name": "(borrow<Point>, option<string>)",
        "point_ratio": "(borrow<Point>) -> option<f64>",
        "point_set_ratio": "(borrow<Point>, option<f64>)",
        "__wbg_set_point_near": "(borrow<Point>, option<own<Point>>)",
    }
    assert "rest (any[])" in found["f"].note
    assert not found["f"].callable
    assert not found["point_origin"].note


def test_a_list_says_which_objects_are_given_away() -> None:
    module = BINDGEN + MEMORY + function("f", "i32 i32 -> ") + function("__wbg_image_free", "i32 -> ")
    found = with_types(described(module), "f: func(a: borrow<Image>, b: own<Image>)").exports
    assert {spelled(each) for each in found if each.note} == {
        "wasm_bindgen: (borrow<Image>, own<Image>) -> ",
        "wasm_bindgen: (own<Image>) -> ",
    }


def test_what_needs_javascript_is_not_callable_and_says_why() -> None:
    text = "export function f(canvas: HTMLCanvasElement, level: number): void;"
    found = {each.name: each for each in with_types(described(BINDGEN + function("f", "i32 i32 -> ")), text).exports}
    assert not found["f"].callable
    assert "canvas (HTMLCanvasElement)" in found["f"].note


WITHOUT = [
    ("i32 i32 i32 i32 -> ", "(a: string, b?: Options | null): string", "(string) -> string", "1"),
    ("externref i32 -> i32", "(a: any | undefined, b: boolean): number", "(bool) -> s32", "0"),
    ("i32 i32 -> i32", "(a?: string[], b?: Uint8Array): number", None, ""),
    ("i32 i32 i32 i32 -> i32", "(a?: string[], b?: Uint8Array): number", "(option<list<u8>>) -> s32", "0[]"),
    ("i32 i32 -> i32", "(a?: string[] | null): number", "() -> s32", "0[]"),
    ("i32 -> i32", "(a?: () => void): number", "() -> s32", "0"),
    ("i32 i32 -> ", "(a?: Shade, b?: Options): void", None, ""),
    ("i32 -> ", "(a?: 'dark' | 'light'): void", None, ""),
    ("i64 -> ", "(a?: Options): void", None, ""),
    ("i32 i32 -> i32", "(a: Options, b?: Options): number", None, ""),
    ("i32 i32 -> i32", "(a?: Options, b?: Options): Promise<string>", None, ""),
]


@pytest.mark.parametrize(("core", "declared", "told", "form"), WITHOUT)
def test_objects_of_javascript_that_may_be_missing_are_left_out(
    core: str, declared: str, told: str | None, form: str
) -> None:
    text = f"export function f{declared}; type Shade = 'dark' | 'light'; export type Options = {{ a: string }};"
    export = typed(BINDGEN + MEMORY + function("f", core), text)
    assert (export.callable, export.form) == (told is not None, form)
    assert "object of JavaScript" in export.note
    if told is not None:
        assert spelled(export) == f"wasm_bindgen: {told}"


def test_arrays_that_are_objects_of_javascript_are_told_as_such() -> None:
    text = """
      export function f(a: string): Uint8Array;
      export class Image { free(): void; readonly data: Uint16Array; readonly width: number; }
    """
    module = function("f", "i32 i32 -> i32") + function("__wbg_get_image_data", "i32 -> externref")
    module += function("__wbg_get_image_width", "i32 -> i32")
    found = {each.name: each for each in with_types(described(BINDGEN + MEMORY + module), text).exports}
    assert "result (Uint8Array) is an object" in found["f"].note
    assert "(Uint16Array) is an object" in found["__wbg_get_image_data"].note
    assert not found["__wbg_get_image_data"].callable
    assert found["__wbg_get_image_width"].callable


def test_a_member_that_its_function_cannot_be_is_refused() -> None:
    with pytest.raises(WrongTypesError) as wrong:
        with_types(
            described(BINDGEN + function("image_width", "i64 -> i32")), "export class Image { width(): number; }"
        )
    assert "image_width" in wrong.value.findings[0].text


WRONG = [
    (
        BINDGEN + '(func (export "__wbindgen_describe_f"))',
        "i32 i32 i32 -> ",
        "f: func(a: string) -> string",
        "what cargo built; upload what wasm-bindgen makes",
    ),
    (PLAIN, "i32 -> i32", "g: func()", "g is not exported"),
    (PLAIN, "i32 -> i64", "f: func(a: string) -> string", "f does not have these types"),
    (PLAIN, "i32 -> i32", "f: func(a: list<string>)", "list<string> cannot be passed"),
    ('(memory (export "memory") 1)', "i32 -> i32", "f: func(a: string) -> s32", "no allocator"),
    (BINDGEN + MEMORY, "i32 -> i32", "f: func(a: string) -> string", "its core type is (i32) -> (i32)"),
    (BINDGEN, "i32 i32 -> i32", "f: func(a: string) -> s32", "does not export __wbindgen_malloc"),
    (
        STRIPPED + '(func (export "__wbindgen_export3") (param i32 i32) (result i32) (i32.const 8))',
        "i32 i32 -> i32",
        "f: func(a: string) -> s32",
        "build it unstripped",
    ),
    (BINDGEN, "i32 i32 -> ", "f: func(a: s32) -> string", "does not export __wbindgen_add_to_stack_pointer"),
    (ASSEMBLYSCRIPT, "i32 -> i64", "f: func(a: string) -> string", "would be (i32) -> (i32)"),
    (PLAIN, "i32 -> i32", "f: func(a: strin)", "line 1: 'strin' is no type"),
    (PLAIN, "i32 -> i32", "\n\nf func(a: s32)", "line 3"),
    (PLAIN, "i32 -> i32", "f: func(a: s32", "missing"),
    (PLAIN, "i32 -> i32", "\N{BULLET}", "not understood"),
    (PLAIN, "i32 -> i32", "// nothing", "declare no function"),
    (PLAIN, "i32 -> i32", "export function f(a: string", "middle of a function"),
    (PLAIN, "i32 -> i32", "export function f(a string): void;", "the type of 'a' is missing"),
]


@pytest.mark.parametrize(("module", "core", "text", "told"), WRONG)
def test_wrong_types_are_refused_with_the_reason(module: str, core: str, text: str, told: str) -> None:
    with pytest.raises(WrongTypesError) as caught:
        typed(module + function("f", core), text)
    (finding,) = caught.value.findings
    assert finding.code == "SIGNATURES_INVALID"
    assert told in finding.text


def test_names_that_are_no_words_stand_in_quotes() -> None:
    (declared,) = read_signatures('"my function!": func(%list: string); // the rest')
    assert (declared.name, declared.parameters[0].name) == ("my function!", "list")


def test_a_module_that_wants_types_says_so_until_they_come() -> None:
    module = PLAIN + function("f", "i32 i32 -> i64")
    assert [each.code for each in described(module).findings] == ["TYPES_MISSING"]
    facts = with_types(described(module), "f: func(a: string) -> string")
    assert facts.findings == ()
    assert facts.convention is Convention.PACKED_BYTES
    assert len(facts.types_sha256) == 64


@given(
    text=st.text(st.sampled_from("af:func()->string<u8>,;{}|?\"'`/*\n exportdeclarefunctionclass=.[]é"), max_size=200)
)
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(SignaturesWrongError):
        read_signatures(text)
    for form in (text, "export function f(" + text, "export class A {" + text):
        with contextlib.suppress(WrongTypesError):
            with_types(ModuleFacts(Convention.CORE), form)


@pytest.mark.parametrize(
    "text", ["(" * 200_000, "/*" * 100_000, "export function f(a: " + "<" * 200_000, "f: func(" * 30_000]
)
def test_long_nonsense_is_refused_in_linear_time(text: str) -> None:
    with pytest.raises(WrongTypesError):
        with_types(ModuleFacts(Convention.CORE), text)
