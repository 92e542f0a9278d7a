"""Which cases a run takes, and what counts as flat."""

from __future__ import annotations

import pytest

from tests.hostile.cases import Case
from tests.hostile.house import House
from tests.hostile.registry import CASES
from tests.hostile.selection import Selection, selection
from tests.hostile.soak import ALLOWED, SAMPLES, Sample, growth, judge


async def nothing(_house: House) -> None:
    """Do no harm."""


SOME = [Case(f"case {number}", nothing, seconds=number, fast=number < 5) for number in range(1, 20)]


def test_every_case_has_a_name_of_its_own() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert all("/" in name and case.seconds > 0 for name, case in zip(names, CASES, strict=True))


def test_without_a_wish_the_fast_cases_are_small() -> None:
    chosen = selection({})
    assert not chosen.full
    assert chosen.choose(SOME) == SOME[:4]


def test_torture_takes_everything() -> None:
    chosen = selection({"HIBANA_TORTURE": "all"})
    assert chosen.full
    assert chosen.choose(SOME) == SOME
    assert not chosen.over(10_000)


def test_a_slice_fits_and_is_repeated_by_its_seed() -> None:
    chosen = selection({"HIBANA_TORTURE_SECONDS": "50", "HIBANA_TORTURE_SEED": "7"})
    cases = chosen.choose(SOME)
    assert 30 <= sum(case.seconds for case in cases) <= 50
    assert cases == chosen.choose(SOME)
    assert not chosen.over(49)
    assert chosen.over(50)
    assert "HIBANA_TORTURE_SECONDS=50 HIBANA_TORTURE_SEED=7" in chosen.title
    assert any(Selection(full=True, seed=seed, seconds=50).choose(SOME) != cases for seed in range(5))


def test_a_fresh_seed_is_drawn_and_told() -> None:
    one, two = selection({}), selection({})
    assert one.seed != two.seed
    assert str(one.seed) in one.title


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="soon"):
        selection({"HIBANA_TORTURE_SECONDS": "soon"})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([5.0] * 40, 0),
        ([0.0] * 10 + [30.0] * 30, 0),  # what fills up once
        ([float(number) for number in range(40)], 20),  # what grows all the time
        ([7.0, 7.0, 400.0, 7.0] * 10, 0),  # peaks
        ([1.0], 0),
    ],
)
def test_growth_is_what_lasts(values: list[float], expected: float) -> None:
    assert growth(values) == pytest.approx(expected, abs=1)


def test_what_grows_all_the_time_is_not_flat() -> None:
    def at(number: int, each: float) -> Sample:
        return Sample(100 + each * number, 50, 15, 5, 20, 40, 20)

    assert all(flat for _, flat in judge([at(number, 0) for number in range(SAMPLES)]).values())
    verdict = judge([at(number, ALLOWED.front_mib / 10) for number in range(SAMPLES)])
    assert [name for name, (_, flat) in verdict.items() if not flat] == ["front_mib"]
