"""The engine's error texts become reasons, short, cleaned, and with the offset kept."""

from __future__ import annotations

import pytest

from hibana_server.sandbox.compiler.engine_errors import refusal

WRAPPED = (
    "failed to compile: wasm[0]::function[0]::{name}\n\nCaused by:\n    0: WebAssembly translation error\n"
    "    1: Invalid input WebAssembly code at offset 23: {cause}\n"
)


@pytest.mark.parametrize(
    ("message", "reason", "text"),
    [
        ("gc support is not enabled (at offset 0x1e)", "FEATURE_DISABLED",
         "The module uses garbage-collected types, which is switched off here (at offset 0x1e)."),
        (WRAPPED.format(name="f", cause="tail calls support is not enabled"), "FEATURE_DISABLED",
         "The module uses tail calls, which is switched off here (at offset 0x17)."),
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


def test_long_and_hostile_text_is_cut_and_cleaned() -> None:
    refused = refusal("\x1b[31m" + "x" * 100_000 + "\u202e (at offset 0x7)")
    text = refused.findings[0].text
    assert len(text) <= 500
    assert text.isprintable()
