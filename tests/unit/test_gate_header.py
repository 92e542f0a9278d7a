"""Bytes that are no core module are refused with what they look like and what to do."""

from __future__ import annotations

import gzip
from contextlib import suppress

import pytest

from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.sandbox.gate.errors import LimitPassed, Malformed, Refused
from hibana_server.sandbox.gate.inspect import inspect
from tests.framework.wasm import HEADER, resvg


def refusal(data: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        inspect(data, Tier.USER, DEFAULT_POLICIES[Tier.USER])
    return caught.value


@pytest.mark.parametrize(
    ("data", "looks"),
    [
        (b"", "is empty"),
        (b"(module)", "WAT"),
        (b"\n\t ;; a comment\n(module)", "WAT"),
        (b"\xef\xbb\xbf(module)", "WAT"),
        (b"\x7fELF\x02\x01\x01\xc8" + bytes(56), ".cwasm"),
        (b"\x7fELF\x02\x01\x01\x00" + bytes(56), "native ELF program"),
        (gzip.compress(HEADER, mtime=0), "gzip data"),
        (b"PK\x03\x04", "zip archive"),
        (b"MZ\x90", "Windows program"),
        (b"!<arch>\nx", "static library"),
        (b"BC\xc0\xde", "LLVM bitcode"),
        (b"AGFzbQEAAAA=", "base64"),
        (b"<!DOCTYPE html>", "HTML"),
        (b"#!/bin/sh\n", "script"),
        (b"fn main() {}", "text"),
        (bytes(range(128, 160)), "unknown binary data (first bytes 80 81 82 83)"),
        (b"\0as", "ends inside its header"),
        (b"\0asm\x01\0", "ends inside its header"),
        (b"\0asm\x02\0\0\0", "version 2"),
    ],
)
def test_other_bytes_are_named(data: bytes, looks: str) -> None:
    error = refusal(data)
    assert isinstance(error, Malformed)
    assert error.finding.code == "MODULE_MALFORMED"
    assert looks in error.finding.text
    assert error.finding.fix


def test_size_is_checked_first() -> None:
    error = refusal(bytes(10 * 1024 * 1024 + 1))
    assert isinstance(error, LimitPassed)
    assert "10485761" in error.finding.text
    assert "10485760" in error.finding.text


def test_empty_module_is_valid_and_warns() -> None:
    facts = inspect(HEADER, Tier.USER, DEFAULT_POLICIES[Tier.USER])
    assert [finding.code for finding in facts.findings] == ["NO_EXPORTS"]
    assert facts.runnable


def test_every_cut_of_a_real_module_is_refused_or_whole() -> None:
    data = resvg()
    for end in [*range(8, 9000, 37), *range(9000, len(data), 100_003)]:
        with suppress(Malformed):  # any other error fails the test
            facts = inspect(data[:end], Tier.USER, DEFAULT_POLICIES[Tier.USER])
            # A cut between two sections may leave a whole module, but never one whose code is missing.
            assert not facts.exports or end > 1_800_000
