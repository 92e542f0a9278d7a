"""Input and output that a record does not hold: kept whole beside it, left out on request, removed with the record."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from google.protobuf import field_mask_pb2

from hibana.v1 import execution_pb2, executor_pb2, module_pb2, module_registry_pb2
from tests.framework.server import Server
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import create, guest, invoke, sha256

pb = executor_pb2
HEAD = 65536
SETTINGS = {
    "EXECUTIONS_PAYLOAD_BYTES": "300000",
    "EXECUTIONS_UNNAMED_PAYLOAD_SECONDS": "0",
    "EXECUTIONS_SWEEP_SECONDS": "0.1",
}


def content(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


async def record(stubs: Stubs, name: str, *, whole: bool = True) -> execution_pb2.Execution:
    return (await stubs.executor.GetExecution(pb.GetExecutionRequest(name=name, whole=whole))).execution


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "data", SETTINGS) as running:
        yield running


@pytest.fixture
async def alice(house: Server) -> AsyncIterator[Stubs]:
    stubs = house.stubs("alice")
    await create(stubs, "cat", guest("client_cat"))
    yield stubs
    await stubs.close()


def files(house: Server) -> list[str]:
    return sorted(path.name for path in (house.data_dir / "payloads").glob("??/*"))


async def test_large_input_and_output_are_kept_whole_and_answered_again(house: Server, alice: Stubs) -> None:
    data = content(1, 200_000)
    first = await invoke(alice, "user/cat", stdin=data, request_id="once")
    assert first.stdout == data
    kept = await record(alice, first.execution)
    assert (kept.input.stdin, kept.output.stdout) == (data, data)
    head = await record(alice, first.execution, whole=False)
    assert (head.input.stdin, head.output.stdout, head.output.stdout_bytes) == (data[:HEAD], data[:HEAD], len(data))
    assert await invoke(alice, "user/cat", stdin=data, request_id="once") == first
    assert files(house) == [sha256(data)], "the same bytes are there once"


async def test_a_stream_is_kept_and_told_again(alice: Stubs) -> None:
    data = content(2, 250_000)
    request = pb.ExecuteRequest(module="user/cat", stdin=data, request_id="once")
    for _ in range(2):
        events = [answer.event async for answer in alice.executor.Execute(request)]
        assert b"".join(event.stdout for event in events) == data


async def test_what_is_larger_than_the_bound_is_kept_by_its_head_and_digest(house: Server, alice: Stubs) -> None:
    data = content(3, 300_001)
    kept = await record(alice, (await invoke(alice, "user/cat", stdin=data)).execution)
    assert (kept.input.stdin, kept.output.stdout) == (data[:HEAD], data[:HEAD])
    assert (kept.input.stdin_sha256, kept.output.stdout_sha256) == (sha256(data), sha256(data))
    again = await invoke(alice, "user/cat", stdin=data, request_id="once")
    cut = await invoke(alice, "user/cat", stdin=data, request_id="once")
    assert (cut.execution, cut.stdout, cut.stdout_truncated) == (again.execution, data[:HEAD], True)
    assert files(house) == []


async def test_small_ones_stay_in_the_record(house: Server, alice: Stubs) -> None:
    data = content(4, HEAD)
    kept = await record(alice, (await invoke(alice, "user/cat", stdin=data)).execution)
    assert kept.output.stdout == data
    assert files(house) == []


async def test_a_payload_goes_with_the_last_record_that_names_it(house: Server, alice: Stubs) -> None:
    shared, own = content(5, 100_000), content(6, 100_000)
    names = [(await invoke(alice, "user/cat", stdin=data)).execution for data in (shared, shared, own)]
    with closing(sqlite3.connect(house.data_dir / "executions.db", isolation_level=None)) as connection:
        # DONE: what is removed while its end waits in the journal would be back with it.
        while connection.execute("SELECT count(*) FROM executions WHERE state = 'done'").fetchone() != (3,):
            await record(alice, names[-1])

        def remove(name: str) -> None:
            connection.execute("DELETE FROM executions WHERE uid = ?", (name.removeprefix("executions/"),))

        remove(names[0])
        remove(names[2])
        house.wait_for_log("payloads_removed", count=1)
        assert files(house) == [sha256(shared)]
        assert (await record(alice, names[1])).output.stdout == shared
        remove(names[1])
        while files(house):
            await record(alice, (await invoke(alice, "user/cat")).execution)
        assert connection.execute("SELECT count(*) FROM execution_payloads").fetchone() == (0,)


async def test_a_payload_survives_kill_9(house: Server, alice: Stubs) -> None:
    data = content(7, 200_000)
    name = (await invoke(alice, "user/cat", stdin=data)).execution
    house.kill()
    house.start()
    again = house.stubs("alice")
    kept = await record(again, name)
    await again.close()
    assert (kept.input.stdin, kept.output.stdout) == (data, data)


async def test_a_damaged_payload_is_not_told(house: Server, alice: Stubs) -> None:
    data = content(8, 200_000)
    name = (await invoke(alice, "user/cat", stdin=data)).execution
    (path,) = (house.data_dir / "payloads").glob("??/*")
    path.chmod(0o600)
    path.write_bytes(data[:-1] + b"?")
    kept = await record(alice, name)
    assert (kept.input.stdin, kept.output.stdout) == (data[:HEAD], data[:HEAD])
    house.wait_for_log("payload_lost")


@pytest.mark.parametrize("size", [7, 200_004])
async def test_sensitive_input_leaves_no_trace(alice: Stubs, size: int) -> None:
    secret = b"S3CRET-" * (size // 7)
    request = pb.InvokeRequest(module="user/cat", argv=["S3CRET"], env={"K": "S3CRET"}, stdin=secret)
    request.sensitive_input, request.request_id = True, "once"
    answer = await alice.executor.Invoke(request)
    assert answer.stdout == secret
    kept = await record(alice, answer.execution)
    assert kept.input == execution_pb2.ExecutionInput(omitted=True)
    assert kept.output.stdout_bytes == len(secret)
    assert await alice.executor.Invoke(request) == answer


async def test_a_module_keeps_its_callers_input_out_of_their_records(alice: Stubs) -> None:
    spec = module_pb2.ModuleSpec(sensitive_input=True)
    made = await create(alice, "vault", guest("client_cat"), module=spec)
    assert made.module.sensitive_input
    assert (await record(alice, (await invoke(alice, "user/vault", stdin=b"x")).execution)).input.omitted
    for sensitive in (False, True):
        module = module_pb2.Module(name="user/vault", sensitive_input=sensitive)
        mask = field_mask_pb2.FieldMask(paths=["sensitive_input"])
        request = module_registry_pb2.UpdateModuleRequest(module=module, update_mask=mask)
        assert (await alice.registry.UpdateModule(request)).module.sensitive_input == sensitive
        kept = await record(alice, (await invoke(alice, "user/vault", stdin=b"x")).execution)
        assert kept.input.omitted == sensitive
        assert kept.input.stdin == (b"" if sensitive else b"x")


async def test_sensitive_arguments_are_in_no_file(house: Server, alice: Stubs) -> None:
    await create(alice, "numbers", guest("client_numbers"))
    answer = await invoke(alice, "user/numbers", "add", 1234567, 7654321, sensitive_input=True, request_id="once")
    assert list(answer.result.json) == [8888888]
    kept = await record(alice, answer.execution)
    assert kept.input.omitted
    assert not kept.input.HasField("json_arguments")
    for path in house.data_dir.rglob("*"):
        assert not path.is_file() or b"7654321" not in path.read_bytes(), path
