"""Unmodified modules from packages, called with values; what they give is compared with what others make of it."""

from __future__ import annotations

import base64
import io
import random
import re

import pytest
from PIL import Image

from hibana_server.domain.executions import Outcome
from hibana_server.domain.modules import Severity
from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.sandbox.gate.inspect import inspect
from tests.framework.guests import Bench, typed
from tools.modules import ASSEMBLYSCRIPT, package

pytestmark = pytest.mark.needs_modules

OXIPNG = ("@jsquash/oxipng", "codec/pkg/squoosh_oxipng_bg.wasm", "codec/pkg/squoosh_oxipng.d.ts")
PHOTONS = [
    ("@cf-wasm/photon", "dist/lib/photon_rs_bg.wasm", "dist/lib/photon_rs.d.ts"),
    ("@silvia-odwyer/photon-node", "photon_rs_bg.wasm", "photon_rs.d.ts"),
]


def module(name: str, wasm: str, types: str) -> tuple[bytes, str]:
    folder = package(name)
    return (folder / wasm).read_bytes(), (folder / types).read_text("utf-8")


def picture(size: int = 96) -> Image.Image:
    """Draw something with many colours."""
    channels = [Image.linear_gradient("L"), Image.radial_gradient("L"), Image.new("L", (256, 256), 60)]
    return Image.merge("RGB", channels).resize((size, size))


_BROWSERS = frozenset({"HTMLCanvasElement", "HTMLImageElement", "ImageData", "Blob"})


@pytest.mark.parametrize("names", [OXIPNG, *PHOTONS], ids=lambda names: names[0])
def test_declarations_as_packages_have_them_type_every_function(names: tuple[str, str, str]) -> None:
    name, binary, declarations = names
    text = (package(name) / declarations).read_text("utf-8")
    facts = typed((package(name) / binary).read_bytes(), text)
    told = {export.name: export for export in facts.exports if re.search(rf"\b{export.name}\b.*\(", text)}
    assert len(told) > 1
    untyped = [export for export in told.values() if not export.callable]
    assert all(any(f"({kind})" in export.note for kind in _BROWSERS) for export in untyped), untyped


async def test_oxipng_makes_the_same_picture_smaller(bench: Bench) -> None:
    drawn = picture()
    file = io.BytesIO()
    drawn.save(file, "PNG", compress_level=0)
    small = await bench.result(*module(*OXIPNG), "optimise", file.getvalue(), 2, False, False)
    assert len(small) < len(file.getvalue()) / 2
    assert Image.open(io.BytesIO(small)).convert("RGB").tobytes() == drawn.tobytes()


async def test_oxipng_makes_a_picture_of_pixels(bench: Bench) -> None:
    drawn = picture(32).convert("RGBA")
    file = await bench.result(*module(*OXIPNG), "optimise_raw", drawn.tobytes(), 32, 32, 1, False, False)
    assert Image.open(io.BytesIO(file)).convert("RGBA").tobytes() == drawn.tobytes()


async def test_what_oxipng_cannot_read_it_throws(bench: Bench) -> None:
    end, _ = await bench.call(*module(*OXIPNG), "optimise", b"no picture", 2, False, False)
    assert end.outcome is Outcome.TRAP
    assert end.failure is not None
    assert end.failure.code == "THROWN"


@pytest.mark.parametrize("photon", PHOTONS, ids=lambda photon: photon[0])
async def test_photon_reads_base64(bench: Bench, photon: tuple[str, str, str]) -> None:
    data = random.Random(7).randbytes(20_000)
    assert await bench.result(*module(*photon), "base64_to_vec", base64.b64encode(data).decode()) == data


@pytest.mark.parametrize("photon", PHOTONS, ids=lambda photon: photon[0])
def test_photon_tells_what_it_needs_sessions_and_browsers_for(photon: tuple[str, str, str]) -> None:
    facts = typed(*module(*photon))
    found = {export.name: export for export in facts.exports}
    assert "session" in found["grayscale"].note
    assert found["resize"].results == ("own<PhotonImage>",)
    assert "HTMLCanvasElement" in found["open_image"].note
    assert not found["open_image"].callable


def compiled() -> tuple[bytes, str]:
    return ASSEMBLYSCRIPT.read_bytes(), ASSEMBLYSCRIPT.with_suffix(".d.ts").read_text("utf-8")


async def test_assemblyscript_gets_and_gives_every_kind_of_value(bench: Bench) -> None:
    code, types = compiled()
    assert await bench.result(code, types, "greet", "w\N{LATIN SMALL LETTER O WITH DIAERESIS}rld \U0001f525") == (
        "Hello, w\N{LATIN SMALL LETTER O WITH DIAERESIS}rld \U0001f525!"
    )
    assert await bench.result(code, types, "maybe", None) is None
    assert await bench.result(code, types, "maybe", ["a"]) == ["a"]
    assert await bench.result(code, types, "reverse", bytes(range(256))) == bytes(range(255, -1, -1))
    assert await bench.result(code, types, "copy", b"abc") == b"abc"
    assert await bench.result(code, types, "sum", [1.5, 2.0, -0.25]) == 3.25
    assert await bench.result(code, types, "double", [1, 2, -3]) == [2, 4, -6]
    assert await bench.result(code, types, "same", [1, 65535]) == [1, 65535]
    assert await bench.result(code, types, "choose", False, 5) == 2**32 - 1


async def test_what_assemblyscript_throws_is_told(bench: Bench) -> None:
    end, _ = await bench.call(*compiled(), "fail", "way")
    assert end.failure is not None
    assert "no way" in end.failure.message


def test_imports_that_nobody_provides_are_named() -> None:
    wasm = (package("quickjs-wasi") / "quickjs.wasm").read_bytes()
    facts = inspect(wasm, Tier.USER, DEFAULT_POLICIES[Tier.USER])
    refused = [each for each in facts.findings if each.severity is Severity.ERROR]
    assert {"env.host_call" in each.text for each in refused} == {True, False}
    assert all(each.fix for each in refused)
