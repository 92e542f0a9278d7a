"""Pictures in a session of photon, a library that wasm-bindgen made, compared by pixel with what Pillow makes."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageOps

from hibana.v1 import execution_pb2, executor_pb2, value_pb2
from tests.framework.sessions import OpenSession, outcome
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import create
from tools.modules import package

pytestmark = pytest.mark.needs_modules

PHOTONS = [
    ("@cf-wasm/photon", "dist/lib/photon_rs_bg.wasm", "dist/lib/photon_rs.d.ts"),
    ("@silvia-odwyer/photon-node", "photon_rs_bg.wasm", "photon_rs.d.ts"),
]
NEAREST, LANCZOS = 1, 5
SIZE = 96


@pytest.fixture(params=PHOTONS, ids=lambda photon: photon[0])
async def photon(caller: Stubs, request: pytest.FixtureRequest) -> str:
    """Store a build of photon as it is in its package."""
    name, wasm, types = request.param
    folder = package(name)
    await create(caller, "photon", (folder / wasm).read_bytes(), signatures=(folder / types).read_text("utf-8"))
    return "user/photon"


def picture() -> Image.Image:
    """Draw something with many colours."""
    channels = [Image.linear_gradient("L"), Image.radial_gradient("L"), Image.linear_gradient("L").rotate(90)]
    return Image.merge("RGB", channels).resize((SIZE, SIZE)).convert("RGBA")


class Photon:
    """Calls of photon's functions with typed values."""

    def __init__(self, session: OpenSession) -> None:
        self._session = session
        self._calls = 0

    async def ask(self, function: str, *values: dict[str, Any]) -> executor_pb2.SessionResponse:
        """Make a call and return what was told of it."""
        self._calls += 1
        packed = value_pb2.ListOfValues(values=[value_pb2.Value(**each) for each in values])
        call = executor_pb2.SessionCall(call_id=self._calls, function=function, typed_arguments=packed)
        await self._session.calls(call)
        return await self._session.answer(self._calls)

    async def call(self, function: str, *values: dict[str, Any]) -> Any:
        """Make a call that must end well and return its one value."""
        told = await self.ask(function, *values)
        assert told.event.result.outcome == execution_pb2.OUTCOME_OK, told
        for value in told.event.result.result.typed.values:
            return getattr(value, value.WhichOneof("kind") or "")
        return None

    async def load(self, image: Image.Image) -> dict[str, int]:
        """Make an object of a picture."""
        size = {"s32_value": image.width}, {"s32_value": image.height}
        return {"handle_value": await self.call("photonimage_new", {"bytes_value": image.tobytes()}, *size)}

    async def pixels(self, handle: dict[str, int]) -> Image.Image:
        """Return the picture of an object."""
        size = [await self.call(f"photonimage_get_{each}", handle) for each in ("width", "height")]
        return Image.frombytes("RGBA", (size[0], size[1]), await self.call("photonimage_get_raw_pixels", handle))


def farthest(one: Image.Image, other: Image.Image) -> int:
    """Return by how much any channel of any pixel differs at most."""
    extrema = ImageChops.difference(one.convert("RGB"), other.convert("RGB")).getextrema()
    return max(most for _, most in extrema)  # type: ignore[misc]


async def test_a_picture_is_resized_and_filtered_as_by_pillow(caller: Stubs, photon: str) -> None:
    drawn = picture()
    async with OpenSession(caller, photon) as session:
        library = Photon(session)
        image = await library.load(drawn)
        assert (await library.pixels(image)).tobytes() == drawn.tobytes()

        width, height = {"s32_value": 40}, {"s32_value": 56}
        small = {"handle_value": await library.call("resize", image, width, height, {"s32_value": LANCZOS})}
        by_pillow = drawn.convert("RGB").resize((40, 56), Image.Resampling.LANCZOS)
        resized = await library.pixels(small)
        assert resized.size == (40, 56)
        assert farthest(resized, by_pillow) <= 2

        await library.call("invert", small)
        inverted = await library.pixels(small)
        assert farthest(inverted, ImageOps.invert(resized.convert("RGB"))) == 0

        await library.call("flipv", image)
        assert farthest(await library.pixels(image), ImageOps.flip(drawn)) == 0
        file = await library.call("photonimage_get_bytes", small)
        assert farthest(Image.open(io.BytesIO(file)), inverted) == 0

        await library.call("__wbg_photonimage_free", small)
        assert outcome(await library.ask("invert", small)) == "ARGUMENTS_INVALID"
        told = await session.rest()
    assert outcome(told[-1]) == "OK"


async def test_a_colour_that_a_filter_keeps_is_gone(caller: Stubs, photon: str) -> None:
    async with OpenSession(caller, photon) as session:
        library = Photon(session)
        image = await library.load(picture())
        channels = [{"s32_value": each} for each in (20, 30, 40)]
        colours = [{"handle_value": await library.call("rgb_new", *channels)} for _ in range(5)]
        for colour in colours[1:] + colours[:1]:
            assert await library.call("rgb_get_green", colour) == 30
            await library.call("selective_lighten", image, colour, {"f32_value": 0.5})
            told = await library.ask("rgb_get_green", colour)
            assert "given away" in told.refusal.message
        assert (await library.pixels(image)).size == (SIZE, SIZE)
        told = await library.ask("invert", colours[0])
        assert outcome(told) == "ARGUMENTS_INVALID"
