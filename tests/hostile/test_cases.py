"""Every hostile case against the real service, each followed by the checks of `invariants.py`."""

from __future__ import annotations

import pytest

from tests.hostile.cases import Case
from tests.hostile.conftest import OpenHouse
from tests.hostile.invariants import unharmed
from tests.hostile.registry import CASES


def limit(case: Case) -> float:
    """Return the timeout of a test, seconds: what the case takes, many times over."""
    return 60 + 10 * case.seconds


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.name, marks=pytest.mark.timeout(limit(case))) for case in CASES]
)
async def test_case(case: Case, open_house: OpenHouse) -> None:
    async with open_house(case) as house, unharmed(house, case.name):
        await case.attack(house)
