"""Components that toolchains made from Python and JavaScript, unmodified, as administrators upload them."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hibana_server.domain.executions import HANDLE_INVALID, Outcome
from hibana_server.domain.files import Directory
from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from tests.framework.guests import MIB, Bench, described
from tests.framework.leases import PATIENCE, KeptComponent
from tests.integration.sandbox.file_runs import left
from tools.modules import JAVASCRIPT, PYTHON

pytestmark = [pytest.mark.needs_modules, pytest.mark.timeout(300)]
TEXT = "hibana:guest/text@1.0.0"
DISK = "hibana:guest/disk@1.0.0"


async def call(bench: Bench, made: Path, function: str, *values: Any) -> Any:
    admin = DEFAULT_POLICIES[Tier.ADMIN]
    limits = {"timeout": admin.timeout, "memory_bytes": admin.memory_bytes, "tier": Tier.ADMIN}
    return await bench.result(made.read_bytes(), "", f"{TEXT}#{function}", *values, **limits)


@pytest.mark.parametrize("made", [PYTHON, JAVASCRIPT], ids=["python", "javascript"])
async def test_a_language_runs_as_a_component(bench: Bench, made: Path) -> None:
    facts = described(made.read_bytes(), Tier.ADMIN)
    assert facts.runnable, facts.findings
    types = {export.name: [parameter.type for parameter in export.parameters] for export in facts.exports}
    assert types[f"{TEXT}#count"] == ["list<string>"]
    assert await call(bench, made, "greet", "火花") == "Hello, 火花!"
    assert await call(bench, made, "count", ["a", "b", "a"]) == [
        {"word": "a", "count": 2},
        {"word": "b", "count": 1},
    ]
    data = random.Random(0).randbytes(50_000)
    assert await call(bench, made, "turn", data) == data[::-1]
    assert await call(bench, made, "parse", "-12") == [False, -12]
    assert await call(bench, made, "parse", "x1") == [True, "no number: x1"]


async def test_python_reads_and_writes_files(bench: Bench) -> None:
    admin = DEFAULT_POLICIES[Tier.ADMIN]
    limits = {"timeout": admin.timeout, "memory_bytes": admin.memory_bytes, "tier": Tier.ADMIN}
    text = "Fünf Zeilen\n" * 40_000
    directory = Directory((("in/text", text.encode()), ("out/other", b"")), ("out/text",))
    names = ("in/text", "/out/text")
    end, heard = await bench.call(
        PYTHON.read_bytes(), "", f"{DISK}#capitals", *names, directory=directory, output_bytes=8 * MIB, **limits
    )
    assert end.outcome is Outcome.OK, end
    assert end.results == ([False, ["other", "text"]],)
    assert left(heard) == {"out/text": text.upper().encode()}
    end, _ = await bench.call(PYTHON.read_bytes(), "", f"{DISK}#capitals", *names, directory=Directory(), **limits)
    assert end.results[0][0] is True
    assert "No such file" in end.results[0][1]


@pytest.mark.parametrize("made", [PYTHON, JAVASCRIPT], ids=["python", "javascript"])
async def test_resources_of_a_language_live_in_a_session(bench: Bench, made: Path) -> None:
    limits = replace(PATIENCE, memory_bytes=DEFAULT_POLICIES[Tier.ADMIN].memory_bytes)
    async with KeptComponent(bench, made.read_bytes(), limits, Tier.ADMIN) as kept:
        one, two = await kept.value(f"{TEXT}#tallies", [5, 7])
        assert await kept.value(f"{TEXT}#tally.add", one, ["a", "b"]) == 7
        assert await kept.value(f"{TEXT}#tally.feed", two, bytes(1000)) == 1007
        three = await kept.value(f"{TEXT}#tally.new", 100)
        # componentize-qjs 0.4.5 takes the number of a handle that it is given for that of an object, in any engine.
        if made == PYTHON:
            joined = await kept.value(f"{TEXT}#tally.join", [one, two, three])
            assert await kept.value(f"{TEXT}#tally.add", joined, []) == 7 + 1007 + 100
        else:
            for each in (one, two, three):
                await kept.value(f"{TEXT}#tally.drop", each)
        for gone in (one, two, three):
            end = await kept.end(f"{TEXT}#tally.add", gone, [])
            assert (end.outcome, end.failure and end.failure.code) == (Outcome.CANCELLED, HANDLE_INVALID)
        assert await kept.value(f"{TEXT}#greet", "you") == "Hello, you!"
