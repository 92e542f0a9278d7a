"""Files of a session: given when it is opened, there for all its calls, told before its end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hibana.v1 import execution_pb2, executor_pb2, value_pb2
from tests.framework import component_script
from tests.framework.refusals import refused
from tests.framework.sessions import OpenSession, json_call, outcome
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import create, guest, sha256
from tests.integration.rpc.test_records import record

NOTES = "out/notes"


@pytest.fixture
async def notes(caller: Stubs) -> str:
    await create(caller, "notes", guest("session_files"))
    return "user/notes"


def opened(caller: Stubs, module: str, **fields: Any) -> OpenSession:
    fields.setdefault("files", [executor_pb2.InputFile(name="in", data=b"given")])
    fields.setdefault("outputs", [NOTES, "none"])
    return OpenSession(caller, module, **fields)


def left(session: OpenSession) -> bytes:
    """Return the bytes of the notes; they are the session's, and come before its end."""
    chunks = [told for told in session.told if told.event.HasField("file")]
    assert {(told.call_id, told.event.file.name) for told in chunks} <= {(0, NOTES)}
    assert [told.event.sequence for told in session.told] == list(range(1, len(session.told) + 1))
    return b"".join(told.event.file.data for told in chunks)


async def test_a_directory_lives_as_long_as_its_session(caller: Stubs, notes: str) -> None:
    async with opened(caller, notes) as session:
        assert [await session.value(json_call(i, "note", 65 + i, 3)) for i in range(1, 4)] == [0, 0, 0]
        assert await session.value(json_call(4, "given")) == ord("g")
        await session.rest()
    assert left(session) == b"BBBCCCDDD"
    result = session.told[-1].event.result
    assert result.outcome == execution_pb2.OUTCOME_OK
    told = [execution_pb2.FileInfo(name=NOTES, size_bytes=9, sha256=sha256(b"BBBCCCDDD"))]
    assert list(result.files) == told
    kept = await record(caller, session.execution)
    assert list(kept.output.files) == told
    assert [(f.name, f.size_bytes, f.sha256) for f in kept.input.files] == [("in", 5, sha256(b"given"))]
    assert list(kept.input.outputs) == [NOTES, "none"]


async def test_stdin_comes_beside_files(caller: Stubs, notes: str) -> None:
    async with opened(caller, notes) as session:
        await session.calls(json_call(1, "typed"))
        await session.send(stdin=b"x")
        assert outcome(await session.answer(1)) == "OK"
        assert list((await session.answer(1)).event.result.result.json) == [ord("x")]
        assert await session.value(json_call(2, "given")) == ord("g")


async def test_files_of_a_session_that_failed_come_too(caller: Stubs, notes: str) -> None:
    async with opened(caller, notes) as session:
        await session.calls(json_call(1, "note", 65, 3), json_call(2, "fail"), json_call(3, "note", 66, 3))
        assert (await session.end()).outcome == execution_pb2.OUTCOME_TRAP
    assert left(session) == b"AAA"
    assert [outcome(await session.answer(call)) for call in (1, 2, 3)] == ["OK", "TRAP", "CANCELLED"]


async def test_files_of_an_idle_session_come_too(caller: Stubs, notes: str) -> None:
    async with opened(caller, notes, idle_timeout={"nanos": 300_000_000}) as session:
        await session.value(json_call(1, "note", 65, 3))
        await session.end()
    assert left(session) == b"AAA"


async def test_a_guest_that_is_killed_leaves_nothing(caller: Stubs, notes: str) -> None:
    async with opened(caller, notes) as session:
        await session.value(json_call(1, "note", 65, 3))
        await session.calls(json_call(2, "spin"))
        await session.send(cancel_call_id=2)
        result = await session.end()
    assert result.outcome == execution_pb2.OUTCOME_CANCELLED
    assert not result.files


async def test_files_count_as_output(caller: Stubs, notes: str) -> None:
    async with opened(caller, notes) as session:
        limit = (await record(caller, await started(session))).limits.output_bytes
        codes: list[int] = []
        call, size = 0, 60_000
        while not codes or codes[-1] == 0:
            call += 1
            codes.append(await session.value(json_call(call, "note", 65, size)))
        assert codes[-1] == 51  # ENOSPC: the directory is full, and the session goes on
        assert call - 1 == limit // size
        await session.rest()
    assert len(left(session)) == (call - 1) * size
    assert session.told[-1].event.result.outcome == execution_pb2.OUTCOME_OK


async def started(session: OpenSession) -> str:
    assert await session.next()
    return session.execution


async def test_a_session_without_files_finds_none(caller: Stubs, notes: str) -> None:
    async with OpenSession(caller, notes) as session:
        assert await session.value(json_call(1, "note", 65, 3)) != 0
        assert await session.value(json_call(2, "given")) < 0


async def test_sessions_know_nothing_of_each_others_files(caller: Stubs, notes: str) -> None:
    async def write(byte: int) -> bytes:
        async with opened(caller, notes) as session:
            for call in range(1, 6):
                await session.value(json_call(call, "note", byte, 1))
            await session.rest()
        return left(session)

    assert list(await asyncio.gather(write(65), write(66))) == [b"AAAAA", b"BBBBB"]


async def test_a_component_keeps_its_directory(caller: Stubs) -> None:
    await create(caller, "disk", component_script.guest())

    def call(number: int, script: component_script.Script) -> executor_pb2.SessionCall:
        values = value_pb2.ListOfValues(values=[value_pb2.Value(bytes_value=script.data)])
        return executor_pb2.SessionCall(call_id=number, function="run", typed_arguments=values)

    first, second = component_script.Script(), component_script.Script()
    made = first.call("open-at", first.root(), 0, *first.text(NOTES), component_script.CREATE, component_script.WRITE)
    first.call("write", component_script.At(made + 4), *first.text("kept"), 0)
    stat = second.call("stat-at", second.root(), 0, *second.text(NOTES))
    async with opened(caller, "user/disk") as session:
        await session.calls(call(1, first), call(2, second))
        assert outcome(await session.answer(1)) == "OK"
        (answer,) = (await session.answer(2)).event.result.result.typed.values
        await session.rest()
    told = component_script.Told(answer.bytes_value)
    assert told.tag(stat) == 0
    assert left(session) == b"kept"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"fresh_instance_per_call": True}, "files"),
        ({"outputs": ["../x"]}, "outputs[0]"),
        ({"outputs": ["in"]}, "outputs[0]"),
        ({"files": [executor_pb2.InputFile(name="/etc/passwd")]}, "files[0].name"),
    ],
)
async def test_what_cannot_be_is_refused(caller: Stubs, notes: str, fields: dict[str, Any], field: str) -> None:
    async with opened(caller, notes, **fields) as session:
        told = await refused(session.end())
    assert told.fields == (field,)
