"""What a caller asks to run: the function, the input, the limits that hold, and page tokens of lists."""

from __future__ import annotations

import base64
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hibana_server.domain.errors import MAX_MESSAGE_BYTES, Invalid, NotFound
from hibana_server.domain.modules import (
    Convention,
    Export,
    Import,
    Module,
    ModuleFacts,
    ModuleLimits,
    ModuleVersion,
    Parameter,
)
from hibana_server.domain.ports import ModuleFilter
from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.services import calls, paging
from hibana_server.services.calls import Call, check_input, effective_limits, recorded_input
from hibana_server.services.targets import Target, find_function, uses_wasi

MODULE = Module(uid="u", tier=Tier.USER, owner="alice", name="m")
CORE = ModuleFacts(Convention.CORE)
VERSION = ModuleVersion("u", "1", "0" * 64, 8, CORE, "alice", 0)

positive = st.floats(0.001, 1000)
memory = st.integers(65536, 2**40)


@given(
    tier=st.sampled_from(Tier),
    own=st.builds(ModuleLimits, st.none() | memory, st.none() | positive),
    asked_time=st.none() | positive,
    asked_memory=st.none() | memory,
    left=st.none() | st.floats(-5, 1000),
)
def test_no_limit_is_ever_raised(
    tier: Tier, own: ModuleLimits, asked_time: float | None, asked_memory: int | None, left: float | None
) -> None:
    policy = DEFAULT_POLICIES[tier]
    now = time.monotonic()
    call = Call("r", timeout=asked_time, memory_bytes=asked_memory, deadline=None if left is None else now + left)
    target = Target(replace(MODULE, tier=tier, limits=own), VERSION, policy)
    limits = effective_limits(call, target.ceiling)
    given_memory = [m for m in (policy.memory_bytes, own.memory_bytes, asked_memory) if m is not None]
    assert limits.memory_bytes == min(given_memory)
    assert limits.output_bytes == policy.output_bytes
    given_times = [t for t in (policy.timeout, own.timeout, asked_time) if t is not None]
    assert 0.001 <= limits.timeout <= min(given_times)
    if left is not None:
        # "gRPC deadline minus max(50 ms, 5 %)", "1 ms at least".
        assert limits.timeout <= max(0.001, left - max(0.05, left * 0.05)) + 1e-6
    else:
        assert limits.timeout == min(given_times)


def exporting(*names: str) -> ModuleFacts:
    return ModuleFacts(Convention.CORE, tuple(Export(n, (), (), callable=True) for n in names))


def test_a_function_is_found_by_its_whole_name() -> None:
    assert find_function(exporting("a", "b"), "b").name == "b"
    for name in ("", "A", "b ", "c"):
        with pytest.raises(NotFound) as caught:
            find_function(exporting("a", "b"), name)
        assert caught.value.reason == "FUNCTION_NOT_FOUND"
        assert caught.value.message.endswith("it exports: a, b")
        assert caught.value.metadata == {"exports": "a,b"}


def test_who_names_no_function_of_a_library_is_told_so() -> None:
    with pytest.raises(NotFound, match="is no program, so name a function; it exports: a"):
        find_function(exporting("a"), "_start")


def test_a_target_remembers_its_functions() -> None:
    target = Target(MODULE, replace(VERSION, facts=exporting("a")), DEFAULT_POLICIES[Tier.USER])
    assert target.function("a") is target.function("a")
    for _ in range(2):
        with pytest.raises(NotFound):
            target.function("b")


def test_a_module_without_functions_says_so() -> None:
    with pytest.raises(NotFound, match="it exports: none"):
        find_function(exporting(), "f")


def test_many_long_names_are_cut() -> None:
    with pytest.raises(NotFound) as caught:
        find_function(exporting(*[f"{'火' * 250}{n}" for n in range(2000)]), "f")
    assert len(caught.value.message.encode()) <= MAX_MESSAGE_BYTES
    assert len(caught.value.metadata["exports"].encode()) <= 2000


def test_few_names_are_counted() -> None:
    with pytest.raises(NotFound, match=r"n18, n19 and 5 more$"):
        find_function(exporting(*[f"n{n}" for n in range(25)]), "f")


def test_a_function_that_cannot_be_called_is_no_function_but_is_shown() -> None:
    hidden = Export("simd", tuple(Parameter(f"p{n}", "v128") for n in range(100)), ("v128",), callable=False)
    facts = ModuleFacts(Convention.CORE, (hidden, Export("f", (), (), callable=True)))
    with pytest.raises(NotFound, match="cannot be called from outside") as caught:
        find_function(facts, "simd")
    assert len(caught.value.message) < 400
    with pytest.raises(NotFound, match=r"it exports: f$"):
        find_function(facts, "g")


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (Call("r", argv=("a",), stdin=b"x"), "argv"),
        (Call("r", env={"A": "b"}), "env"),
        (Call("r", stdin=b"x"), "stdin"),
    ],
)
def test_wasi_input_is_for_modules_that_use_wasi(call: Call, field: str) -> None:
    check_input(call, wasi=True)
    with pytest.raises(Invalid) as caught:
        check_input(call, wasi=False)
    assert [v.field for v in caught.value.violations] == [field]
    check_input(Call("r"), wasi=False)


def test_what_uses_wasi() -> None:
    importing = Import("wasi_snapshot_preview1", "fd_write", "function", "", granted=True)
    assert uses_wasi(ModuleFacts(Convention.CORE, imports=(importing,)))
    assert uses_wasi(ModuleFacts(Convention.WASI_COMMAND))
    assert uses_wasi(ModuleFacts(Convention.WASI_REACTOR))
    assert not uses_wasi(ModuleFacts(Convention.CORE, imports=(replace(importing, module="env"),)))


def test_input_is_bounded_all_together() -> None:
    limit = calls.MAX_INPUT_BYTES
    check_input(Call("r", stdin=b"x" * limit), wasi=True)
    for call in (Call("r", stdin=b"x" * (limit + 1)), Call("r", stdin=b"x" * limit, argv=("a",))):
        with pytest.raises(Invalid) as caught:
            check_input(call, wasi=True)
        assert caught.value.reason == "INPUT_TOO_LARGE"


def test_the_record_keeps_the_head_of_stdin_and_the_digest_of_all() -> None:
    kinds = ("s64", "f64")
    stdin = bytes(range(256)) * 512
    kept = recorded_input(Call("r", argv=("a",), env={"K": "v"}, stdin=stdin), (2**60, float("nan")), kinds)
    assert kept.arguments_json == f'["{2**60}", "NaN"]'
    assert (kept.argv, kept.env) == (("a",), {"K": "v"})
    assert kept.stdin == stdin[: 64 * 1024]
    assert kept.stdin_size == len(stdin)
    assert len(kept.stdin_sha256) == 64
    assert recorded_input(Call("r"), (), ()).stdin_sha256 == ""


FILTER = ModuleFilter(viewer="alice", viewer_is_admin=False)

cursors = st.text(st.characters(codec="utf-8"), min_size=1, max_size=200)


@given(cursor=cursors)
def test_a_page_token_reads_back_for_the_same_filters(cursor: str) -> None:
    token = paging.seal(cursor, FILTER)
    assert paging.unseal(token, FILTER) == cursor
    assert token.isascii()
    assert paging.unseal("", FILTER) == ""
    assert paging.seal("", FILTER) == ""


@pytest.mark.parametrize(
    "other",
    [
        replace(FILTER, viewer="bob"),
        replace(FILTER, viewer_is_admin=True),
        replace(FILTER, tier=Tier.USER),
        replace(FILTER, owner="x"),
        replace(FILTER, status=None),
        replace(FILTER, name_prefix="x"),
        replace(FILTER, text="x"),
        replace(FILTER, executable_only=True),
    ],
    ids=repr,
)
def test_a_page_token_holds_for_its_own_filters_only(other: ModuleFilter) -> None:
    with pytest.raises(Invalid) as caught:
        paging.unseal(paging.seal("cursor", FILTER), other)
    assert caught.value.reason == "PAGE_TOKEN_INVALID"


@given(token=st.text(st.characters(exclude_categories=[]), min_size=1, max_size=100))
def test_any_other_text_is_no_page_token(token: str) -> None:
    with pytest.raises(Invalid) as caught:
        paging.unseal(token, FILTER)
    assert caught.value.reason == "PAGE_TOKEN_INVALID"
    assert [v.field for v in caught.value.violations] == ["page_token"]


def test_a_tampered_page_token_is_refused_or_a_cursor_the_store_judges() -> None:
    token = paging.seal("cursor", FILTER)
    raw = base64.urlsafe_b64decode(token + "==")
    for index in range(9):
        changed = raw[:index] + bytes([raw[index] ^ 1]) + raw[index + 1 :]
        with pytest.raises(Invalid):
            paging.unseal(base64.urlsafe_b64encode(changed).decode(), FILTER)
    with pytest.raises(Invalid):
        paging.unseal(base64.urlsafe_b64encode(raw[:9]).decode(), FILTER)
    with pytest.raises(Invalid):
        paging.unseal(base64.urlsafe_b64encode(raw + b"\xff").decode(), FILTER)


@pytest.mark.parametrize(("asked", "rows"), [(0, 50), (1, 1), (50, 50), (500, 500), (501, 500), (2**31 - 1, 500)])
def test_page_sizes(asked: int, rows: int) -> None:
    assert paging.page_size(asked) == rows
