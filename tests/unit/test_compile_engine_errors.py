"""The engine's error texts become reasons, short, cleaned, and with the offset kept."""

from __future__ import annotations

import pytest

from hibana_server.sandbox.compiler.engine_errors import refusal
from hibana_server.sandbox.features import COMPACT_IMPORTS as COMPACT
from hibana_server.sandbox.features import GC, TAIL_CALLS

WRAPPED = (
    "failed to compile: wasm[0]::function[0]::{name}\n\nCaused by:\n    0: WebAssembly translation error\n"
    "    1: Invalid input WebAssembly code at offset 23: {cause}\n"
)


@pytest.mark.parametrize(
    ("message", "reason", "text"),
    [
        ("gc support is not enabled (at offset 0x1e)", "FEATURE_DISABLED",
         f"The module uses garbage-collected types, which is switched off here (at offset 0x1e): {GC.reason}."),
        (WRAPPED.format(name="f", cause="tail calls support is not enabled"), "FEATURE_DISABLED",
         f"The module uses tail calls, which is switched off here (at offset 0x17): {TAIL_CALLS.reason}."),
        ("invalid leading byte 0x7F with compact imports proposal disabled (at offset 0x16)", "FEATURE_DISABLED",
         f"The module uses {COMPACT.title}, which is switched off here (at offset 0x16): {COMPACT.reason}."),
        ("holograms support is not enabled (at offset 0x1)", "FEATURE_DISABLED",
         "The module uses holograms, which is switched off here (at offset 0x1)."),
        (WRAPPED.format(name="f", cause="type mismatch"), "MODULE_MALFORMED",
         "The bytes are no valid WebAssembly module: type mismatch (at offset 0x17)."),
        (WRAPPED.format(name="gc support is not enabled", cause="zero byte expected"), "MODULE_MALFORMED",
         "The bytes are no valid WebAssembly module: zero byte expected (at offset 0x17)."),
        ("something else", "MODULE_MALFORMED", "The bytes are no valid WebAssembly module: something else."),
    ],
)  # fmt: skip
def test_texts(message: str, reason: str, text: str) -> None:
    refused = refusal(message)
    assert refused.reason == reason
    assert refused.findings[0].code == reason
    assert refused.findings[0].text == text


@pytest.mark.parametrize(
    ("message", "feature"),
    [
        ("legacy_exceptions feature required for try instruction", "exception handling"),
        ("rec group usage requires `gc` proposal to be enabled", "garbage-collected types"),
        ("heap types not supported without the gc feature", "garbage-collected types"),
        ("cannot define struct types when gc types are disabled", "garbage-collected types"),
        ("threads must be enabled for shared memories", "threads (shared memory, shared globals, atomics)"),
        ("shared globals require the shared-everything-threads proposal", "threads (shared memory, shared globals"),
        ("memory64 must be enabled for 64-bit tables", "64-bit memory (memory64)"),
        ("the custom page sizes proposal must be enabled to customize a memory's page size", "custom page sizes"),
        ("function references required for non-nullable types", "typed function references"),
        ("tables with expression initializers require the function-references proposal", "typed function references"),
        ("custom descriptors required for exact reference types", "custom descriptors"),
        ("constant expression required: global.get of locally defined global", "garbage-collected types"),
        ("async component functions require the component model async feature", "asynchronous components"),
    ],
)
def test_the_many_ways_in_which_the_engine_names_a_proposal(message: str, feature: str) -> None:
    assert f"The module uses {feature}" in refusal(message).findings[0].text


def test_long_and_hostile_text_is_cut_and_cleaned() -> None:
    refused = refusal("\x1b[31m" + "x" * 100_000 + "\u202e (at offset 0x7)")
    text = refused.findings[0].text
    assert len(text) <= 500
    assert text.isprintable()
