"""Proposals that are switched off, as far as declarations show them; instructions are the compiler's part."""

from __future__ import annotations

import pytest

from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.sandbox.gate.errors import FeatureUsed, Malformed
from hibana_server.sandbox.gate.inspect import inspect
from tests.framework.wasm import function_type, functions, module, name, section, vector

IMPORT = name("env") + name("x")


@pytest.mark.parametrize(
    ("feature", "data"),
    [
        ("threads", module(section(5, b"\x01\x03\x01\x02"))),
        ("threads", module(section(2, vector([IMPORT + b"\x02\x03\x01\x02"])))),
        ("memory64", module(section(5, b"\x01\x04\x01"))),
        ("memory64", module(section(4, b"\x01\x70\x04\x01"))),
        ("custom page sizes", module(section(5, b"\x01\x08\x01\x00"))),
        ("multi-memory", module(section(5, b"\x02\x00\x01\x00\x01"))),
        ("multi-memory", module(section(2, vector([IMPORT + b"\x02\0\x01"])), section(5, b"\x01\x00\x01"))),
        ("exception handling", module(section(1, vector([function_type()])), section(13, b"\x01\0\0"))),
        ("exception handling", module(section(1, vector([function_type()])), section(2, vector([IMPORT + b"\4\0\0"])))),
        ("exception handling", module(section(1, vector([function_type(b"\x69")])))),
        ("garbage-collected", module(section(1, b"\x01\x5f\x00"))),
        ("garbage-collected", module(section(1, b"\x01\x4e\x00"))),
        ("garbage-collected", module(section(1, vector([function_type(b"\x6e")])))),
        ("typed function references", module(section(1, vector([function_type(b"\x64\x00")])))),
        ("typed function references", module(section(4, b"\x01\x40\x00\x70\x00\x00\xd0\x70\x0b"))),
        ("stack switching", module(section(1, b"\x01\x5d\x00"))),
        ("threads", module(section(2, vector([IMPORT + b"\x03\x7f\x02"])))),
        ("exception handling", functions(1, body=b"\x01\x01\x69\x0b")),
    ],
)
def test_feature_is_named(feature: str, data: bytes) -> None:
    with pytest.raises(FeatureUsed) as caught:
        inspect(data, Tier.ADMIN, DEFAULT_POLICIES[Tier.ADMIN])
    assert feature in caught.value.finding.text
    assert caught.value.finding.code == "FEATURE_DISABLED"


TYPE = section(1, vector([function_type()]))


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("unknown section 14", module(section(14, b""))),
        ("repeated or out of order", module(TYPE, TYPE)),
        ("repeated or out of order", module(section(3, b"\0"), TYPE)),
        ("ends too early", module(b"\x01\xff\x01")),
        ("inside a number", module(b"\x01\x80")),
        ("longer than 32 bits", module(b"\x01\xff\xff\xff\xff\x7f")),
        ("longer than 32 bits", module(b"\x01\x80\x80\x80\x80\x80\x00")),
        ("longer than what it holds", module(section(1, vector([function_type()]) + b"\0"))),
        ("longer than its section", module(section(1, b"\x05\x60\0\0"))),
        ("unknown form of type", module(section(1, b"\x01\x13"))),
        ("unknown value type", module(section(1, vector([function_type(b"\x00")])))),
        ("type that does not exist", module(section(3, b"\x01\x07"))),
        ("code is missing", module(TYPE, section(3, b"\x01\x00"))),
        ("number of function bodies", module(TYPE, section(3, b"\x01\0"), section(10, b"\0"))),
        ("start function does not exist", module(section(8, b"\0"))),
        ("function that does not exist", module(section(7, vector([name("f") + b"\0\0"])))),
        ("same name", module(section(7, vector([name("f") + b"\2\0"] * 2)))),
        ("not valid UTF-8", module(section(7, vector([name(b"\xff") + b"\2\0"])))),
        ("inside a name", module(section(0, b"\x05ab"))),
        ("unknown kind of import", module(section(2, vector([IMPORT + b"\x09\0"])))),
        ("unknown kind of export", module(section(7, vector([name("f") + b"\x09\0"])))),
        ("unknown memory flags", module(section(5, b"\x01\x10\x01"))),
        ("larger than 4 GiB", module(section(5, b"\x01\x01\x00\x81\x80\x04"))),
        ("smaller than its minimum", module(section(5, b"\x01\x01\x05\x04"))),
        ("no reference", module(section(4, b"\x01\x7f\0\0"))),
        ("unknown mutability", module(section(2, vector([IMPORT + b"\x03\x7f\x05"])))),
    ],
)
def test_malformed_is_told_with_its_offset(what: str, data: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        inspect(data, Tier.USER, DEFAULT_POLICIES[Tier.USER])
    assert what in caught.value.finding.text
    assert "at offset 0x" in caught.value.finding.text
