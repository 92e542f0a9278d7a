"""Traces as a collector gets them: what they hold, what they never hold, and calls that do not wait for it."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest

from hibana.v1 import execution_pb2, executor_pb2, module_registry_pb2
from tests.framework.collector import Collector
from tests.framework.server import ADDRESSES, STOP_SECONDS, Server
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import create, guest
from tests.integration.test_metrics import scraped

INVOKE = "hibana.v1.Executor/Invoke"
SPAN = "00f067aa0ba902b7"


def settings(endpoint: str, **more: str) -> dict[str, str]:
    return {"OTEL_ENDPOINT": endpoint, "OTEL_INTERVAL_SECONDS": "0.05", **more}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest.fixture(scope="module")
def traced(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a server that exports every trace, but starts none by itself."""
    with Server(
        tmp_path_factory.mktemp("traced") / "data", settings(collector.endpoint, OTEL_SAMPLE_RATIO="0")
    ) as server:
        yield server


@pytest.fixture(scope="module")
async def alice(traced: Server) -> Any:
    stubs = traced.stubs("alice")
    await create(stubs, "m", guest("client_numbers"))
    await create(stubs, "cat", guest("client_cat"))
    yield stubs
    await stubs.close()


def new_trace() -> str:
    return secrets.token_hex(16)


def sent(stubs: Stubs, trace: str, flags: str = "01") -> tuple[tuple[str, str], ...]:
    return (*stubs.metadata, ("traceparent", f"00-{trace}-{SPAN}-{flags}"))


def call(function: str, *arguments: int, module: str = "user/m") -> executor_pb2.InvokeRequest:
    request = executor_pb2.InvokeRequest(module=module, function=function)
    request.json_arguments.extend(arguments)
    return request


async def test_a_call_and_its_run_are_two_spans_of_the_callers_trace(collector: Collector, alice: Stubs) -> None:
    trace = new_trace()
    before = time.time_ns()
    answer = await alice.executor.Invoke(call("add", 1, 2), metadata=sent(alice, trace))
    after = time.time_ns()
    served, ran = collector.trace(trace, 2)
    assert (served.name, served.kind, served.parent_id, served.failed) == (INVOKE, "SERVER", SPAN, False)
    assert (ran.name, ran.kind, ran.parent_id, ran.failed) == ("user/alice/m", "INTERNAL", served.span_id, False)
    faas = {
        "faas.trigger": "other",
        "faas.name": "user/alice/m",
        "faas.version": "1.0.0",
        "faas.invocation_id": answer.execution.removeprefix("executions/"),
        "faas.coldstart": True,
        "hibana.outcome": "ok",
        "hibana.tier": "user",
    }
    rpc = {"rpc.system.name": "grpc", "rpc.method": INVOKE, "rpc.response.status_code": "OK"}
    assert served.attributes == rpc | faas
    assert ran.attributes == faas | {"hibana.function": "add"}
    assert before - 10**9 < served.start_ns <= served.end_ns < after + 10**9
    assert 0 < ran.start_ns <= ran.end_ns
    assert served.resource["service.name"] == "hibana"
    assert {"service.version", "service.instance.id"} <= set(served.resource)
    again = new_trace()
    await alice.executor.Invoke(call("add", 1, 2), metadata=sent(alice, again))
    assert [span.attributes["faas.coldstart"] for span in collector.trace(again, 2)] == [False, False]


async def test_what_the_caller_does_not_keep_is_not_exported(collector: Collector, alice: Stubs) -> None:
    dropped, malformed, kept = new_trace(), "x" * 32, new_trace()
    await alice.executor.Invoke(call("add", 1, 2), metadata=sent(alice, dropped, "00"))
    await alice.executor.Invoke(call("add", 1, 2), metadata=sent(alice, malformed))
    await alice.executor.Invoke(call("add", 1, 2))
    await alice.executor.Invoke(call("add", 1, 2), metadata=sent(alice, kept))
    collector.trace(kept, 2)
    assert {span.trace_id for span in collector.spans}.isdisjoint({dropped, malformed})
    assert all(span.parent_id for span in collector.spans), "the sample ratio is 0: no trace begins here"


async def test_failures_of_guests_and_of_callers_are_none_of_the_service(
    collector: Collector, alice: Stubs, traced: Server
) -> None:
    trapped, unknown, refused = new_trace(), new_trace(), new_trace()
    await alice.executor.Invoke(call("fail"), metadata=sent(alice, trapped))
    served, ran = collector.trace(trapped, 2)
    assert (served.failed, served.attributes["hibana.outcome"], "error.type" in served.attributes) == (
        False, "trap", False,
    )  # fmt: skip
    assert (ran.failed, ran.attributes["error.type"]) == (True, "trap")
    stranger = traced.without_token()
    with pytest.raises(grpc.aio.AioRpcError):
        await stranger.registry.ListModules(
            module_registry_pb2.ListModulesRequest(), metadata=(("traceparent", f"00-{refused}-{SPAN}-01"),)
        )
    await stranger.close()
    with pytest.raises(grpc.aio.AioRpcError):
        await alice.executor.Invoke(call("add", module="user/none"), metadata=sent(alice, unknown))
    (served,) = collector.trace(unknown, 1)
    assert served.attributes["rpc.response.status_code"] == "NOT_FOUND"
    assert not served.failed
    assert not any(name.startswith("faas.") for name in served.attributes)
    assert collector.trace(refused, 0) == [], "a stranger wrote into a trace"


async def test_a_run_that_its_call_does_not_wait_for_is_in_the_trace(collector: Collector, alice: Stubs) -> None:
    trace = new_trace()
    request = executor_pb2.ExecuteRequest(module="user/m", function="spin")
    stream = alice.executor.Execute(request, metadata=sent(alice, trace))
    async for response in stream:
        assert response.event.HasField("started")
        break
    stream.cancel()
    served, ran = collector.trace(trace, 2)
    assert (served.name, served.attributes["rpc.response.status_code"]) == ("hibana.v1.Executor/Execute", "CANCELLED")
    assert ran.parent_id == served.span_id
    assert (ran.failed, ran.attributes["error.type"]) == (True, "cancelled")
    assert ran.attributes["faas.invocation_id"] == served.attributes["faas.invocation_id"]


async def test_nothing_secret_leaves(collector: Collector, alice: Stubs) -> None:
    trace, word = new_trace(), secrets.token_hex(8)
    request = executor_pb2.InvokeRequest(
        module="user/cat", argv=[f"argv-{word}"], env={f"NAME_{word}": f"value-{word}"}, stdin=f"stdin-{word}".encode()
    )
    metadata = (*sent(alice, trace), ("x-request-id", f"id-{word}"), ("x-other", f"header-{word}"))
    answer = await alice.executor.Invoke(request, metadata=metadata)
    assert word.encode() in answer.stdout
    collector.trace(trace, 2)
    everything = b"".join(collector.requests)
    token = dict(alice.metadata)["authorization"].removeprefix("Bearer ")
    assert trace in {span.trace_id for span in collector.spans}
    for secret in (word, token, "Bearer", "authorization"):
        assert secret.encode() not in everything, secret


async def test_what_waits_is_exported_at_the_end(tmp_path: Path) -> None:
    with Collector() as collector:
        waiting = settings(collector.endpoint, OTEL_INTERVAL_SECONDS="60", OTEL_SERVICE_NAME="mine")
        with Server(tmp_path / "data", waiting) as server:
            alice = server.stubs("alice")
            await create(alice, "m", guest("client_numbers"))
            for _ in range(10):
                await alice.executor.Invoke(call("add", 1, 2))
            assert collector.spans == []
            assert scraped(server)["hibana_spans_waiting"] == 21
            await alice.close()
        assert len(collector.spans) == 21
        roots = [span for span in collector.spans if not span.parent_id]
        assert len({span.trace_id for span in roots}) == len(roots) == 11
        assert {span.resource["service.name"] for span in collector.spans} == {"mine"}


async def test_calls_do_not_need_the_collector(tmp_path: Path) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    away = settings(f"http://127.0.0.1:{port}", OTEL_TIMEOUT_SECONDS="2", OTEL_MAX_WAITING="20")
    with Server(tmp_path / "data", away) as server:
        alice = server.stubs("alice")
        await create(alice, "m", guest("client_numbers"))
        slowest = 0.0
        for _ in range(100):
            start = time.monotonic()
            answer = await alice.executor.Invoke(call("add", 1, 2))
            slowest = max(slowest, time.monotonic() - start)
            assert answer.outcome == execution_pb2.OUTCOME_OK
        assert slowest < 1.5, "an export is tried for two seconds, and no call waits for it"
        told = server.wait_for_log("spans_not_exported")
        assert "UNAVAILABLE" in told["error"]
        assert scraped(server)["hibana_spans_dropped_total"] > 100
        with Collector(port) as collector:
            while not collector.spans:
                await alice.executor.Invoke(call("add", 1, 2))
            server.wait_for_log("spans_exported_again")
            assert scraped(server)["hibana_spans_exported_total"] > 0
        await alice.close()


async def test_a_collector_that_never_answers_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with closing(socket.socket()) as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Server(tmp_path / "data", settings(endpoint, OTEL_TIMEOUT_SECONDS="60")) as server:
            alice = server.stubs("alice")
            await create(alice, "m", guest("client_numbers"))
            assert (await alice.executor.Invoke(call("add", 1, 2))).outcome == execution_pb2.OUTCOME_OK
            await alice.close()
            start = time.monotonic()
            server.stop()
            assert time.monotonic() - start < STOP_SECONDS / 2


WITHOUT_THE_EXTRA = """
import sys
sys.modules["opentelemetry"] = None  # as if it were not installed
from hibana_server.cli import main
sys.exit(main())
"""


def test_without_the_extra_the_server_says_how_to_install_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_THE_EXTRA, "serve", "--data-dir", str(tmp_path / "data"), *ADDRESSES]
    environment = {**os.environ, "HIBANA_SERVER_OTEL_ENDPOINT": "http://127.0.0.1:4317"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    assert "pip install 'hibana[server,otel]'" in done.stderr
    assert "Traceback" not in done.stderr
    doctor = [sys.executable, "-c", WITHOUT_THE_EXTRA, "doctor", "--data-dir", str(tmp_path / "data")]
    told = subprocess.run(doctor, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 1
    assert "settings otel" in told.stdout


def test_without_an_endpoint_nothing_of_it_is_loaded() -> None:
    code = "import sys, hibana_server.app; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
