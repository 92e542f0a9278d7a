"""Components that toolchains made from Python and JavaScript, unmodified, as administrators upload them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from hibana_server.domain.executions import Outcome
from hibana_server.domain.files import Directory
from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from tests.framework.guests import MIB, Bench, described
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
