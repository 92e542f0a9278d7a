"""Files over the contract: given with the call, told before the result, and what is kept of them."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from hibana.v1 import execution_pb2, executor_pb2, value_pb2
from tests.framework import component_script
from tests.framework.refusals import refused
from tests.framework.stubs import Stubs
from tests.framework.wasi_script import CREATE, WRITE, Script, guest
from tests.integration.rpc.conftest import create, invoke, sha256
from tests.integration.rpc.test_history import replay
from tests.integration.rpc.test_records import record

pb = executor_pb2
MIB = 1024 * 1024


@pytest.fixture
async def shell(caller: Stubs) -> str:
    await create(caller, "shell", guest())
    return "user/shell"


def given(**files: bytes) -> list[pb.InputFile]:
    return [pb.InputFile(name=name.replace("__", "/"), data=data) for name, data in files.items()]


def writing(**files: bytes) -> bytes:
    """Make the stdin that has the guest write files."""
    script = Script()
    for name, data in files.items():
        script.open(name.replace("__", "/"), CREATE, WRITE)
        script.call("fd_write", 4, *script.vectors(script.text(data)), script.room(4))
        script.call("fd_close", 4)
    return script.data


def info(name: str, data: bytes) -> execution_pb2.FileInfo:
    return execution_pb2.FileInfo(name=name, size_bytes=len(data), sha256=sha256(data))


async def events(stubs: Stubs, request: pb.ExecuteRequest) -> list[execution_pb2.ExecutionEvent]:
    return [answer.event async for answer in stubs.executor.Execute(request)]


async def test_invoke_answers_with_the_files_that_were_left(caller: Stubs, shell: str) -> None:
    answer = await invoke(
        caller, shell, stdin=writing(out=b"made", d__e=b""), files=given(x=b"in"), outputs=["d/e", "none", "out"]
    )
    assert answer.outcome == execution_pb2.OUTCOME_OK
    assert [(f.name, f.data, f.omitted) for f in answer.files] == [("d/e", b"", False), ("out", b"made", False)]
    assert [(f.size_bytes, f.sha256) for f in answer.files] == [(0, sha256(b"")), (4, sha256(b"made"))]


async def test_records_tell_of_files_and_keep_no_byte(caller: Stubs, shell: str) -> None:
    answer = await invoke(caller, shell, stdin=writing(out=b"made"), files=given(d__x=b"in"), outputs=["out"])
    kept = await record(caller, answer.execution)
    assert list(kept.input.files) == [info("d/x", b"in")]
    assert list(kept.input.outputs) == ["out"]
    assert list(kept.output.files) == [info("out", b"made")]


async def test_sensitive_input_keeps_names_out_too(caller: Stubs, shell: str) -> None:
    answer = await invoke(
        caller, shell, stdin=writing(out=b"x"), files=given(secret=b"in"), outputs=["out"], sensitive_input=True
    )
    kept = await record(caller, answer.execution)
    assert kept.input == execution_pb2.ExecutionInput(omitted=True)
    assert list(kept.output.files) == [info("out", b"x")]


async def test_a_file_too_large_for_the_answer_is_told_without_its_bytes(caller: Stubs, shell: str) -> None:
    script = Script()
    script.open("big", CREATE, WRITE)
    script.call("fd_filestat_set_size", 4, 3 * MIB)
    script.open("small", CREATE, WRITE)
    answer = await invoke(caller, shell, stdin=script.data, outputs=["big", "small"])
    assert [(f.name, f.size_bytes, len(f.data), f.omitted) for f in answer.files] == [
        ("big", 3 * MIB, 0, True),
        ("small", 0, 0, False),
    ]
    assert answer.files[0].sha256 == sha256(bytes(3 * MIB))


async def test_execute_tells_files_in_pieces_before_the_result(caller: Stubs, shell: str) -> None:
    data = bytes(range(256)) * 2500
    told = await events(caller, pb.ExecuteRequest(module=shell, stdin=writing(out=data), outputs=["out"]))
    chunks = [event.file for event in told if event.WhichOneof("event") == "file"]
    assert b"".join(chunk.data for chunk in chunks) == data
    assert [chunk.offset_bytes for chunk in chunks] == [0, 262144, 524288]
    assert [event.WhichOneof("event") for event in told[-4:]] == ["file"] * 3 + ["result"]
    assert [event.sequence for event in told] == list(range(1, len(told) + 1))
    assert list(told[-1].result.files) == [info("out", data)]


async def test_whoever_watches_later_is_told_the_files_as_a_gap(caller: Stubs, shell: str) -> None:
    told = await events(caller, pb.ExecuteRequest(module=shell, stdin=writing(out=b"x"), outputs=["out"]))
    request = pb.WatchExecutionRequest(name=told[0].started.execution)
    again = [answer.event async for answer in caller.executor.WatchExecution(request)]
    assert [event.WhichOneof("event") for event in again][-2:] == ["gap", "result"]
    assert again[-1] == told[-1]


async def test_a_detached_run_tells_its_files_to_those_who_watch(caller: Stubs, shell: str) -> None:
    begun = await caller.executor.StartExecution(
        pb.StartExecutionRequest(module=shell, stdin=writing(out=b"made"), outputs=["out"], files=given(x=b""))
    )
    request = pb.WatchExecutionRequest(name=begun.execution.name)
    told = [answer.event async for answer in caller.executor.WatchExecution(request)]
    assert [event.file.data for event in told if event.WhichOneof("event") == "file"] == [b"made"]
    assert list(told[-1].result.files) == [info("out", b"made")]


async def test_a_call_that_is_answered_again_tells_files_without_bytes(caller: Stubs, shell: str) -> None:
    request: dict[str, Any] = {
        "stdin": writing(out=b"x"),
        "outputs": ["out"],
        "files": given(x=b"1"),
        "request_id": "once",
    }
    first = await invoke(caller, shell, **request)
    again = await invoke(caller, shell, **request)
    assert again.execution == first.execution
    assert [(f.name, f.data, f.omitted) for f in again.files] == [("out", b"", True)]
    changed = await refused(invoke(caller, shell, **{**request, "files": given(x=b"2")}))
    assert changed.reason == "REQUEST_ID_REUSED"


async def test_a_run_with_files_cannot_be_replayed_and_one_with_outputs_can(caller: Stubs, shell: str) -> None:
    with_files = await invoke(caller, shell, stdin=writing(out=b"x"), files=given(x=b"1"), outputs=["out"])
    refusal = await refused(replay(caller, with_files.execution))
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "INPUT_NOT_KEPT")
    without = await invoke(caller, shell, stdin=writing(out=b"x"), outputs=["out"])
    again = await replay(caller, without.execution)
    assert (again.same, list(again.differences)) == (True, [])
    assert list(again.execution.output.files) == [info("out", b"x")]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "empty"),
        ("/etc/passwd", "slash"),
        ("..", "`..`"),
        ("../x", "`..`"),
        ("a/../../x", "`..`"),
        ("a/./x", "`.`"),
        ("a//x", "empty"),
        ("a/", "empty"),
        ("a\\x", "backslash"),
        ("a\nb", "cannot be seen"),
        ("a\u202eb", "cannot be seen"),
        ("e\u0301", "normalization"),
        ("x" * 256, "255 bytes"),
        ("/".join("x" * 17), "parts"),
    ],
)
async def test_names_that_are_none_are_refused(caller: Stubs, shell: str, name: str, reason: str) -> None:
    for fields in ({"files": [pb.InputFile(name="ok"), pb.InputFile(name=name)]}, {"outputs": ["ok", name]}):
        refusal = await refused(invoke(caller, shell, **fields))
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
        assert reason in refusal.message
        assert refusal.fields[0] in ("files[1].name", "outputs[1]")


@pytest.mark.parametrize(
    ("files", "outputs"),
    [(["a", "a"], []), (["a", "a/b"], []), (["a/b"], ["a"]), (["a"], ["a"]), ([], ["a", "a"]), ([], ["a/b", "a"])],
)
async def test_names_that_do_not_go_together_are_refused(
    caller: Stubs, shell: str, files: list[str], outputs: list[str]
) -> None:
    refusal = await refused(invoke(caller, shell, files=[pb.InputFile(name=n) for n in files], outputs=outputs))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_numbers_and_sizes_are_bounded(caller: Stubs, shell: str) -> None:
    for fields in (
        {"files": [pb.InputFile(name=str(number)) for number in range(257)]},
        {"outputs": [str(number) for number in range(65)]},
        {"files": [pb.InputFile(name=f"{number:03}/" + "/".join(["x" * 200] * 4)) for number in range(100)]},
        {"files": [pb.InputFile(name="x", data=bytes(4 * MIB))]},
        {"files": [pb.InputFile(name="x", data=bytes(2 * MIB)), pb.InputFile(name="y", data=bytes(2 * MIB))]},
    ):
        refusal = await refused(invoke(caller, shell, **fields))
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_files_are_for_modules_that_use_wasi(caller: Stubs, numbers: str) -> None:
    for fields in ({"files": given(x=b"")}, {"outputs": ["x"]}):
        refusal = await refused(invoke(caller, numbers, "add", 1, 2, **fields))
        assert refusal.fields == ("files",)
        assert "WASI" in refusal.message


async def test_a_component_reads_and_leaves_files(caller: Stubs) -> None:
    script = component_script.Script()
    root = script.root()
    file = component_script.At(script.call("open-at", root, 0, *script.text("d/in"), 0, component_script.READ) + 4)
    read = script.call("read", file, 100, 0)
    made = script.call("open-at", root, 0, *script.text("out"), component_script.CREATE, component_script.WRITE)
    script.call("write", component_script.At(made + 4), *script.text("made"), 0)
    await create(caller, "component-files", component_script.guest())
    request = pb.InvokeRequest(
        module="user/component-files",
        function="run",
        typed_arguments=value_pb2.ListOfValues(values=[value_pb2.Value(bytes_value=script.data)]),
        files=given(d__in=b"given"),
        outputs=["out", "none"],
    )
    answer = await caller.executor.Invoke(request)
    assert answer.outcome == execution_pb2.OUTCOME_OK, answer
    assert component_script.Told(answer.result.typed.values[0].bytes_value).text(read) == b"given"
    assert [(f.name, f.data) for f in answer.files] == [("out", b"made")]
    kept = await record(caller, answer.execution)
    assert list(kept.input.files) == [info("d/in", b"given")]
    assert list(kept.output.files) == [info("out", b"made")]
