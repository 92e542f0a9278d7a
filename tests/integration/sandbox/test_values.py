"""Values of every core type pass through frames and engine unchanged."""

from __future__ import annotations

import math
import struct

import pytest

from hibana_server.domain.executions import Outcome
from tests.framework.guests import Bench

INTEGERS = {
    "i32": [0, 1, -1, 2**31 - 1, -(2**31)],
    "i64": [0, 1, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)],
}
FLOATS = {
    "f32": [0.0, 1.5, -2.25, math.inf, -math.inf, 2.0**-149, 3.4028234663852886e38],
    "f64": [0.0, 0.1, -1e308, math.inf, -math.inf, 5e-324, 1.7976931348623157e308],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, all_ in INTEGERS.items() for value in all_])
async def test_integers(bench: Bench, name: str, value: int) -> None:
    result = await bench.value("sandbox_numbers", name, value)
    assert (type(result), result) == (int, value)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, all_ in FLOATS.items() for value in all_])
async def test_floats(bench: Bench, name: str, value: float) -> None:
    result = await bench.value("sandbox_numbers", name, value)
    assert (type(result), result) == (float, value)


@pytest.mark.parametrize("name", ["f32", "f64"])
async def test_nan_and_negative_zero(bench: Bench, name: str) -> None:
    assert math.isnan(await bench.value("sandbox_numbers", name, math.nan))
    assert struct.pack("<d", await bench.value("sandbox_numbers", name, -0.0)) == struct.pack("<d", -0.0)


async def test_a_whole_number_stays_a_float(bench: Bench) -> None:
    assert type(await bench.value("sandbox_numbers", "f64", 3.0)) is float


async def test_f32_is_rounded_once(bench: Bench) -> None:
    assert await bench.value("sandbox_numbers", "f32", 0.1) == struct.unpack("<f", struct.pack("<f", 0.1))[0]


async def test_several_and_none(bench: Bench) -> None:
    end, _ = await bench.run("sandbox_numbers", "all", -7, 2**62, 0.5, math.inf)
    assert (end.outcome, end.results) == (Outcome.OK, (-7, 2**62, 0.5, math.inf))
    end, _ = await bench.run("sandbox_numbers", "nothing")
    assert (end.outcome, end.results, end.failure) == (Outcome.OK, (), None)
