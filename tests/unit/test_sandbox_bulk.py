"""Results on their way to the front: every value arrives as it left, and nothing else is believed."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hibana_server.domain.executions import Outcome
from hibana_server.domain.modules import Convention
from hibana_server.domain.sandboxes import Binding, Job, TypedCall
from hibana_server.domain.wit import Type, read_type
from hibana_server.sandbox.bulk import MAX_RESULT_BYTES, TooLargeError, WrongResultsError, decode, encode
from hibana_server.sandbox.frames import BULK_BYTES, BULK_TEXT, INLINE_BYTES, LENGTH, OUTPUT_PIECE, Bulk
from tests.framework.any_value import TYPED_VALUES
from tests.framework.peers import done, job, peer
from tests.unit.test_domain_wit import same

LONG = st.integers(INLINE_BYTES - 2, INLINE_BYTES + 2)


@given(typed=st.lists(TYPED_VALUES, max_size=3))
def test_every_result_arrives_as_it_left(typed: list[tuple[Type, Any]]) -> None:
    structure, bulk = encode(tuple(value for _, value in typed))
    read = decode(structure, b"".join(bulk), tuple(type_ for type_, _ in typed))
    assert same(list(read), [value for _, value in typed])


@given(sizes=st.lists(LONG, min_size=1, max_size=4), text=st.booleans())
def test_long_values_travel_apart_and_in_order(sizes: list[int], text: bool) -> None:
    letters = "abcd"
    values: list[Any] = [letters[i] * size for i, size in enumerate(sizes)]
    if not text:
        values = [value.encode() for value in values]
    structure, bulk = encode((values,))
    assert len(structure) <= 4 * (INLINE_BYTES + 8)
    assert sum(map(len, bulk)) == sum(size for size in sizes if size > INLINE_BYTES)
    type_ = read_type("list<string>") if text else read_type("list<list<u8>>")
    assert decode(structure, b"".join(bulk), (type_,)) == (values,)


def test_more_than_an_answer_holds_is_refused() -> None:
    encode(("x" * (MAX_RESULT_BYTES - 100),))
    with pytest.raises(TooLargeError):
        encode(("x" * (MAX_RESULT_BYTES + 1),))
    with pytest.raises(TooLargeError):
        encode((["x" * INLINE_BYTES] * 1000,))


def ext(code: int, data: bytes) -> bytes:
    return msgspec.msgpack.encode([msgspec.msgpack.Ext(code, data)])


NONSENSE: dict[str, tuple[bytes, bytes, str]] = {
    "no MessagePack": (b"\xc1", b"", "string"),
    "no list": (msgspec.msgpack.encode({"a": 1}), b"", "string"),
    "too few": (msgspec.msgpack.encode([]), b"", "string"),
    "too many": (msgspec.msgpack.encode(["a", "b"]), b"", "string"),
    "another type": (msgspec.msgpack.encode([5]), b"", "string"),
    "a number out of range": (msgspec.msgpack.encode([300]), b"", "u8"),
    "a bool for a number": (msgspec.msgpack.encode([True]), b"", "u8"),
    "deep nesting": (b"\x91" * 100_000 + b"\xc0", b"", "list<string>"),
    "four billion items": (b"\xdd\xff\xff\xff\xff", b"", "list<string>"),
    "more bulk than named": (ext(BULK_TEXT, LENGTH.pack(1)), b"ab", "string"),
    "less bulk than named": (ext(BULK_TEXT, LENGTH.pack(3)), b"ab", "string"),
    "text that is no UTF-8": (ext(BULK_TEXT, LENGTH.pack(2)), b"\xff\xff", "string"),
    "bytes for text": (ext(BULK_BYTES, LENGTH.pack(2)), b"ab", "string"),
    "an unknown extension": (ext(9, LENGTH.pack(2)), b"ab", "string"),
    "an extension without length": (ext(BULK_TEXT, b""), b"", "string"),
    "a time": (msgspec.msgpack.encode([msgspec.msgpack.Ext(-1, bytes(4))]), b"", "string"),
    "a structure beyond its limit": (msgspec.msgpack.encode(["x" * 800_000]), b"", "string"),
    "a record with other fields": (msgspec.msgpack.encode([{"b": 1}]), b"", "record { a: s32 }"),
}


@pytest.mark.parametrize("case", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_is_refused(case: tuple[bytes, bytes, str]) -> None:
    structure, bulk, type_ = case
    with pytest.raises(WrongResultsError):
        decode(structure, bulk, (read_type(type_),))


def typed_job(*results: str) -> Job:
    binding = Binding(Convention.PACKED_BYTES, (), results)
    return job(*results, typed=TypedCall(binding, ()))


async def test_bulk_comes_in_pieces() -> None:
    text = "\N{GREEK SMALL LETTER ALPHA}" * 400_000
    structure, (data,) = encode((text,))
    async with peer() as p:
        listener = p.start(typed_job("string"))
        p.receive()
        for start in range(0, len(data), OUTPUT_PIECE):
            await asyncio.to_thread(p.send, Bulk(data[start : start + OUTPUT_PIECE]))
        p.send(done(values=structure))
        end = await listener.end()
    assert (end.outcome, end.results) == (Outcome.OK, (text,))


@pytest.mark.parametrize(
    "frames",
    [
        [Bulk(b"")],
        [Bulk(bytes(OUTPUT_PIECE + 1))],
        [Bulk(b"a"), done(values=encode(("b",))[0])],
        [done(values=encode((5,))[0])],
        [done(values=b"")],
        [done(results=(5,))],
    ],
)
async def test_results_that_are_none_cost_the_worker_its_life(frames: list[Any]) -> None:
    async with peer() as p:
        listener = p.start(typed_job("string"))
        p.receive()
        await asyncio.to_thread(p.send, *frames)
        await p.assert_lost(listener)


async def test_a_result_beyond_its_limit_costs_the_worker_its_life() -> None:
    async with peer() as p:
        listener = p.start(typed_job("string"))
        p.receive()
        flood = [Bulk(bytes(OUTPUT_PIECE))] * (MAX_RESULT_BYTES // OUTPUT_PIECE + 1)
        with contextlib.suppress(OSError):  # the front closes the channel at the first that is too much
            await asyncio.to_thread(p.send, *flood)
        await p.assert_lost(listener)


async def test_bulk_of_a_call_over_numbers_costs_the_worker_its_life() -> None:
    async with peer() as p:
        listener = p.start()
        p.receive()
        p.send(Bulk(b"a"))
        await p.assert_lost(listener)


async def test_output_that_cannot_be_read_ends_a_call_with_values() -> None:
    async with peer() as p:
        listener = p.start(typed_job("string"))
        p.receive()
        p.send(done(outcome="bad_output", message="the guest returned nonsense"))
        end = await listener.end()
    assert end.outcome is Outcome.BAD_OUTPUT
    assert end.failure is not None
    assert end.failure.message == "the guest returned nonsense"
