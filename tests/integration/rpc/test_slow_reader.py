"""A reader that takes nothing loses the stream, not the record, and holds nobody up."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hibana.v1 import execution_pb2, executor_pb2
from hibana_server.auth.tokens import issue
from hibana_server.domain.callers import Role
from hibana_server.rpc import event_stream
from hibana_server.storage.data_dir import load_or_create_key, open_data_dir
from tests.framework.refusals import refused
from tests.framework.server import in_process
from tests.framework.stubs import SMALL_WINDOW, connect
from tests.integration.rpc.conftest import create, guest, invoke

OUTPUT = b"x" * (3 * 2**20)


async def test_a_reader_that_takes_nothing_loses_the_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "READER_SECONDS", 0.2)
    async with in_process(tmp_path / "data") as service:
        key = load_or_create_key(open_data_dir(tmp_path / "data").keys / "token.key")
        token = issue(key, "alice", Role.USER, 60)
        slow, other = (connect(str(service.listen), token, options=each) for each in (SMALL_WINDOW, ()))
        await create(slow, "cat", guest("client_cat"))
        events = aiter(slow.executor.Execute(executor_pb2.ExecuteRequest(module="user/cat", stdin=OUTPUT)))
        name = (await anext(events)).event.started.execution
        done = executor_pb2.ListExecutionsRequest(state=execution_pb2.EXECUTION_STATE_DONE)
        async with asyncio.timeout(10):
            while not (await other.executor.ListExecutions(done)).total_size:
                pass
        # The guest has ended and its sandbox serves others, whatever the reader does.
        assert (await invoke(other, "user/cat", stdin=b"y")).stdout == b"y"
        await asyncio.sleep(1.0)  # the reader's patience is what is tested
        refusal = await refused(events)
        assert refusal.told == ("ABORTED", "READER_TOO_SLOW")
        assert name in refusal.message
        record = (await other.executor.GetExecution(executor_pb2.GetExecutionRequest(name=name))).execution
        assert (record.outcome, record.output.stdout_bytes) == (execution_pb2.OUTCOME_OK, len(OUTPUT))
        await slow.close()
        await other.close()
