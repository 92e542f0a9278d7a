"""Modules that attack whoever reads and compiles them: bombs, counts without end, nesting, names."""

from __future__ import annotations

import asyncio
from functools import partial

from tests.framework.wasm import custom, functions, locals_times_branches, module
from tests.hostile import bombs
from tests.hostile.cases import ADMIN, MIB, Build, Case, refused, theme
from tests.hostile.house import House

MALFORMED, LIMIT, BUDGET = "MODULE_MALFORMED", "MODULE_LIMIT", "COMPILE_BUDGET"
ANY = (MALFORMED, LIMIT, BUDGET)


def judged(name: str, build: Build, seconds: float = 6, *, fast: bool = False) -> Case:
    """Expect that a module within the counted limits is compiled or refused by the budget: either way it ends."""

    async def attack(house: House) -> None:
        upload = asyncio.ensure_future(house.upload(build()))
        await asyncio.wait([upload])
        if upload.exception() is None:
            assert upload.result().version.runnable
        else:
            refusal = await house.refusal(upload)
            assert refusal.reason in {LIMIT, BUDGET}, refusal

    return Case(name, attack, seconds, fast)


async def two_bombs_beside_a_small_module(house: House) -> None:
    """Two bombs of one caller are compiled while a small module of another caller is stored."""
    told = [asyncio.ensure_future(house.refused_upload(locals_times_branches(4_900 - n))) for n in range(2)]
    stored = await house.upload(functions(3), caller=house.alice)
    assert stored.version.runnable
    assert {refusal.reason for refusal in await asyncio.gather(*told)} <= {BUDGET, LIMIT}


async def larger_than_the_tier_allows(house: House) -> None:
    """Send a stream that is too long: it is refused while it comes, before anyone reads it."""
    refusal = await house.refused_upload(module(custom("x", bytes(11 * MIB))))
    assert refusal.told == ("INVALID_ARGUMENT", LIMIT), refusal
    assert refusal.fields == ("wasm",)


CASES = theme(
    "compile",
    refused("locals times branches", locals_times_branches, BUDGET, LIMIT, seconds=12),
    refused("locals times branches, admin", locals_times_branches, BUDGET, LIMIT, tier=ADMIN, seconds=40, fast=False),
    Case("two bombs beside a small module", two_bombs_beside_a_small_module, 25, fast=False),
    refused("a million functions", partial(functions, 1_000_000), LIMIT, seconds=1),
    refused("a million functions, admin", partial(functions, 1_000_000), LIMIT, tier=ADMIN, seconds=1, fast=False),
    judged("as many functions as a user may have", partial(functions, 19_999)),
    judged("a long function without a branch", partial(bombs.straight, 25_000)),
    judged("branches with a value to one block", partial(bombs.branches_to_one_block, 30_000)),
    judged("calls with many arguments", partial(bombs.calls_with, 100, 1_200)),
    judged("many jump tables", partial(bombs.br_table, 3_000, 80)),
    judged("500 blocks deep", partial(bombs.nested, 500), 0.3, fast=True),
    refused("100,000 blocks deep", partial(bombs.nested, 100_000), *ANY),
    refused("60,000 loops deep", partial(bombs.nested, 60_000, b"\x03\x40"), *ANY),
    refused("40,000 ifs deep", partial(bombs.nested, 40_000, b"\x41\0\x04\x40"), *ANY),
    refused("a jump table of a million", partial(bombs.br_table, 1_000_000), LIMIT, MALFORMED),
    refused("a jump table of 4 billion", bombs.jump_table_of_nothing, MALFORMED, LIMIT),
    refused("a function body of 4 MB", partial(bombs.straight, 400_000), LIMIT),
    refused("4 billion locals", bombs.locals_of_nothing, LIMIT, MALFORMED),
    refused("60,000 groups of locals", partial(bombs.locals_in_groups, 60_000), LIMIT),
    refused("1,000 parameters", partial(bombs.one_function, b"\0\x0b", bombs.I32 * 1_000), LIMIT),
    refused("1,000 results", partial(bombs.results, 1_000), LIMIT),
    refused("100,000 types", partial(bombs.many_types, 100_000, 1), LIMIT),
    refused("100,000 exports", partial(bombs.exports_of_one, 100_000), LIMIT),
    refused("100,000 imports", partial(bombs.imports_of_one, 100_000), LIMIT),
    refused("a million globals", partial(bombs.globals_without_end, 1_000_000), LIMIT, seconds=1),
    refused("300,000 data segments", partial(bombs.data_segments, 300_000), *ANY, seconds=5, fast=False),
    refused("300,000 element segments", partial(bombs.element_segments, 300_000), *ANY, seconds=5, fast=False),
    refused("a million custom sections", lambda: module(custom("x") * 1_000_000), LIMIT, seconds=1),
    refused("a custom section of 9 MB", lambda: module(custom("x", bytes(9 * MIB))), LIMIT, seconds=1),
    refused("an export name of 90 KB", partial(bombs.export_name, "n" * 90_000), LIMIT),
    refused("an export name that is no text", partial(bombs.export_name, b"\xff\xfe\x80"), MALFORMED),
    refused("two exports of one name", bombs.exports_twice, MALFORMED),
    Case("a module of 11 MB", larger_than_the_tier_allows),
    *(
        refused(
            f"section {each} promises 4 billion entries",
            partial(bombs.promised, each),
            MALFORMED,
            LIMIT,
            fast=each in {1, 2, 10},
        )
        for each in range(1, 13)
    ),
)
