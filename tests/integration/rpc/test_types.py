"""Modules that come with types: what an upload tells, who sees them, and how values travel from caller to guest."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.protobuf import json_format

from hibana.v1 import execution_pb2, executor_pb2, module_pb2, module_registry_pb2, value_pb2
from tests.framework.refusals import refused
from tests.framework.stubs import Stubs
from tests.integration.conftest import Connect
from tests.integration.rpc.conftest import create, guest, invoke

TYPES = """
echo: func(text: string) -> string
join: func(a: string, b: list<u8>) -> list<u8>   // b is bytes
raw: func(at: s32, size: s32) -> string
"""
OK = execution_pb2.OUTCOME_OK


async def packed(caller: Stubs, name: str, **fields: Any) -> module_registry_pb2.CreateModuleResponse:
    return await create(caller, name, guest("convention_packed"), signatures=TYPES, **fields)


async def test_an_upload_tells_the_types_of_each_function(caller: Stubs) -> None:
    version = (await packed(caller, "typed")).version
    exports = {export.name: export for export in version.exports}
    join = exports["join"]
    assert [(p.name, p.type) for p in join.parameters] == [("a", "string"), ("b", "list<u8>")]
    assert list(join.results) == ["list<u8>"]
    assert join.convention == module_pb2.CONVENTION_PACKED_BYTES
    assert join.callable
    items = json.loads(join.arguments_schema)["prefixItems"]
    assert [item["title"] for item in items] == ["a", "b"]
    assert items[0]["type"] == "string"
    assert items[1]["contentEncoding"] == "base64"
    assert exports["alloc"].convention == module_pb2.CONVENTION_CORE
    assert list(version.findings) == []
    read = await caller.registry.GetModuleVersion(module_registry_pb2.GetModuleVersionRequest(version="user/typed"))
    assert read.version.exports == version.exports


async def test_types_of_one_owner_are_nobody_elses(connect: Connect, caller: Stubs) -> None:
    await packed(caller, "mine")
    other = connect("types-other")
    plain = (await create(other, "theirs", guest("convention_packed"))).version
    assert {p.type for export in plain.exports for p in export.parameters} <= {"s32", "s64"}
    assert [finding.code for finding in plain.findings] == ["TYPES_MISSING"]
    bytes_only = await create(
        other, "theirs", guest("convention_packed"), "2", signatures="echo: func(data: list<u8>) -> list<u8>"
    )
    assert {e.name: list(e.results) for e in bytes_only.version.exports}["echo"] == ["list<u8>"]
    assert (await invoke(caller, "user/mine", "echo", "text")).result.json.values[0].string_value == "text"


async def test_wrong_types_are_refused_with_findings(caller: Stubs) -> None:
    told = await refused(
        create(caller, "wrong-types", guest("convention_packed"), signatures="echo: func(a: string) -> s32")
    )
    assert told.told == ("INVALID_ARGUMENT", "SIGNATURES_INVALID")
    assert "echo does not have these types" in told.findings[0].text


async def test_a_version_keeps_its_types(caller: Stubs) -> None:
    first = await packed(caller, "kept-types")
    again = await packed(caller, "kept-types")
    assert again.existed
    assert again.version == first.version
    for signatures in ("", "echo: func(a: list<u8>) -> list<u8>"):
        call = create(caller, "kept-types", guest("convention_packed"), signatures=signatures)
        assert (await refused(call)).reason == "VERSION_TAKEN"


async def test_values_go_in_and_come_out_in_both_forms(caller: Stubs) -> None:
    await packed(caller, "forms")
    answer = await invoke(caller, "user/forms", "join", "a\N{EURO SIGN}", base64.b64encode(b"\0\xff").decode())
    assert (answer.outcome, answer.result.json.values[0].string_value) == (
        OK,
        base64.b64encode("a\N{EURO SIGN}".encode() + b"\0\xff").decode(),
    )
    typed = value_pb2.ListOfValues(values=[value_pb2.Value(string_value="a"), value_pb2.Value(bytes_value=b"\0\xff")])
    answer = await caller.executor.Invoke(
        executor_pb2.InvokeRequest(module="user/forms", function="join", typed_arguments=typed)
    )
    assert answer.result.typed.values[0].bytes_value == b"a\0\xff"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (("a",), "takes 2, got 1"),
        ((5, "aa"), "arguments[0]: a: string wants a string, got a number"),
        (("a", "no base64!"), "arguments[1]: b: list<u8> wants bytes"),
    ],
)
async def test_values_that_do_not_fit_are_refused(caller: Stubs, values: tuple[Any, ...], told: str) -> None:
    await packed(caller, "strict")
    refusal = await refused(invoke(caller, "user/strict", "join", *values))
    assert refusal.reason == "ARGUMENTS_INVALID"
    assert told in refusal.message


async def test_output_that_cannot_be_read_is_a_result_with_its_reason(caller: Stubs) -> None:
    await packed(caller, "liar")
    answer = await invoke(caller, "user/liar", "raw", -1, 5)
    assert answer.outcome == execution_pb2.OUTCOME_BAD_OUTPUT
    assert "outside of its memory" in answer.failure.message
    record = await _record(caller, answer.execution)
    assert record.outcome == execution_pb2.OUTCOME_BAD_OUTPUT


async def _record(caller: Stubs, name: str, *, whole: bool = False) -> execution_pb2.Execution:
    answer = await caller.executor.GetExecution(executor_pb2.GetExecutionRequest(name=name, whole=whole))
    return answer.execution


async def test_large_values_stand_in_the_record_by_digest_and_come_whole(caller: Stubs) -> None:
    await packed(caller, "large")
    text = "\N{SPARKLES}" * 500_000
    answer = await invoke(caller, "user/large", "echo", text)
    assert answer.result.json.values[0].string_value == text
    record = await _record(caller, answer.execution)
    assert not record.input.HasField("json_arguments")
    assert not record.output.HasField("json_results")
    assert record.input.arguments_bytes == record.output.results_bytes == len(text.encode()) + 4
    assert record.input.arguments_sha256 == record.output.results_sha256
    whole = await _record(caller, answer.execution, whole=True)
    assert json_format.MessageToDict(whole.input)["jsonArguments"] == [text]
    assert json_format.MessageToDict(whole.output)["jsonResults"] == [text]
    assert (whole.input.arguments_bytes, whole.output.results_bytes) == (0, 0)
    again = await caller.executor.ReplayExecution(executor_pb2.ReplayExecutionRequest(name=answer.execution))
    assert list(again.differences) == []


async def test_large_results_are_answered_again_word_for_word(caller: Stubs) -> None:
    await packed(caller, "once")
    text = "x" * 200_000
    first, again = [await invoke(caller, "user/once", "echo", text, request_id="typed-1") for _ in range(2)]
    assert again == first
    assert first.result.json.values[0].string_value == text


async def test_large_results_are_told_to_whoever_watches_later(caller: Stubs) -> None:
    await packed(caller, "watched")
    text = "y" * 200_000
    typed = value_pb2.ListOfValues(values=[value_pb2.Value(string_value=text)])
    request = executor_pb2.StartExecutionRequest(module="user/watched", function="echo", typed_arguments=typed)
    name = (await caller.executor.StartExecution(request)).execution.name
    for _ in range(2):
        stream = caller.executor.WatchExecution(executor_pb2.WatchExecutionRequest(name=name))
        events = [message.event async for message in stream]
        assert events[-1].result.result.typed.values[0].string_value == text


async def test_a_stream_tells_values_too(caller: Stubs) -> None:
    await packed(caller, "streamed")
    request = executor_pb2.ExecuteRequest(module="user/streamed", function="echo")
    request.json_arguments.extend(["a" * 1_000_000])
    events = [message.event async for message in caller.executor.Execute(request)]
    assert events[-1].result.result.json.values[0].string_value == "a" * 1_000_000
