"""What /metrics counts while a server is used: compiles and kills by reason."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

from hibana.v1 import execution_pb2, executor_pb2
from tests.framework.server import Server
from tests.integration.rpc.conftest import create, guest


def scraped(server: Server) -> dict[str, float]:
    """Return the samples by name and labels."""
    with urllib.request.urlopen(f"http://{server.http}/metrics", timeout=10) as answer:
        lines = re.findall(r"^(hibana_\S+) (\S+)$", answer.read().decode(), re.MULTILINE)
    return {name: float(value) for name, value in lines}


async def test_compiles_and_kills_are_counted(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        alice = server.stubs("alice")
        await create(alice, "m", guest("client_numbers"))
        before = scraped(server)
        assert before['hibana_compile_seconds_count{tier="user"}'] == 1
        assert 0 < before['hibana_compile_seconds_sum{tier="user"}'] < 60
        assert "hibana_pool_killed_cancelled_total" not in before

        outcome = execution_pb2.OUTCOME_UNSPECIFIED
        request = executor_pb2.ExecuteRequest(module="user/m", function="spin")
        async for response in alice.executor.Execute(request):
            if response.event.HasField("started"):
                name = response.event.started.execution
                await alice.executor.CancelExecution(executor_pb2.CancelExecutionRequest(name=name))
            if response.event.HasField("result"):
                outcome = response.event.result.outcome
        assert outcome == execution_pb2.OUTCOME_CANCELLED
        assert scraped(server)["hibana_pool_killed_cancelled_total"] == 1
        await alice.close()
