"""Clients generated for other languages run one script against a running server, and each tells what it decoded.

script.json has the steps: what is called, with what, and what must be seen whatever the server says. README.md tells
what a client gets and prints. Everything a client prints is compared with what Python sees of the same server.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import wasmtime
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from hibana.v1 import executor_pb2, module_pb2, module_registry_pb2
from hibana_server.domain.callers import Role
from tests.framework.guests import GUESTS, wasm
from tests.framework.server import Server
from tests.interop.expected import Reference
from tools import interop

SCRIPT = Path(__file__).with_name("script.json")
SECONDS = 60.0
"""What one client gets for the whole script."""
FULL = {"POOL_MAX_SANDBOXES": "1", "POOL_MAX_QUEUE": "2"}
CROWD = 5
"""More callers than have room in a service with these settings."""


@pytest.fixture(scope="module")
def guests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the modules that the script names, and one that is none."""
    folder = tmp_path_factory.mktemp("guests")
    for step in steps():
        name = step["input"].get("guest")
        if name is not None and (GUESTS / f"{name}.wat").exists():
            (folder / f"{name}.wasm").write_bytes(wasm(name))
    truncated = bytes(wasmtime.wat2wasm("(module (func))"))[:-2]
    (folder / "malformed.wasm").write_bytes(truncated)
    return folder


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run the server that the script is about."""
    with Server(tmp_path_factory.mktemp("server") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def small_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a server with one sandbox and a short queue."""
    with Server(tmp_path_factory.mktemp("small") / "data", FULL) as running:
        yield running


@pytest.fixture
async def full_server(small_server: Server) -> AsyncIterator[Server]:
    """Fill the small server with guests that never end, until it refuses callers."""
    admin = small_server.stubs("root", Role.ADMIN)
    header = module_registry_pb2.UploadHeader(tier=module_pb2.TIER_ADMIN, module_name="endless", version="1")
    await admin.registry.CreateModule(
        module_registry_pb2.CreateModuleRequest(header=header, wasm=wasm("client_endless"))
    )
    crowd = [small_server.stubs(f"caller-{number}", Role.ADMIN) for number in range(CROWD)]
    request = executor_pb2.InvokeRequest(module="admin/endless")
    calls = [asyncio.ensure_future(caller.executor.Invoke(request, timeout=SECONDS)) for caller in crowd]
    # Whoever is refused tells that the sandbox and the queue are taken.
    done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    for refused in done:
        error = refused.exception()
        assert isinstance(error, grpc.aio.AioRpcError)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    yield small_server
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    assert all(call.cancelled() or call.exception() for call in calls)
    for caller in (admin, *crowd):
        await caller.close()


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 30)
@pytest.mark.parametrize(
    "language",
    [
        pytest.param("go", marks=pytest.mark.needs_go),
        pytest.param("typescript", marks=pytest.mark.needs_node),
        pytest.param("java", marks=pytest.mark.needs_java),
        pytest.param("rust", marks=pytest.mark.needs_rust),
    ],
)
async def test_a_generated_client_decodes_everything(
    language: str, server: Server, full_server: Server, guests: Path, tmp_path: Path
) -> None:
    subject = f"interop-{language}"
    environment = {
        "HIBANA_ADDRESS": server.address,
        "HIBANA_TOKEN": server.token(subject),
        "HIBANA_FULL_ADDRESS": full_server.address,
        "HIBANA_FULL_TOKEN": full_server.token(subject, Role.ADMIN),
        "HIBANA_GUESTS": str(guests),
    }
    script = tmp_path / "script.json"
    # A client is not told what it has to see.
    given = [{key: value for key, value in step.items() if key != "expect"} for step in steps()]
    script.write_text(json.dumps(given), encoding="utf-8")
    saw = await run([*interop.PROJECTS[language].command(), str(script)], environment)
    assert [line["step"] for line in saw] == [step["step"] for step in steps()]

    callers = {
        "user": server.stubs(subject),
        "nobody": server.without_token(),
        "latecomer": full_server.stubs(subject, Role.ADMIN),
    }
    reference = Reference(callers, guests)
    wrong = []
    for step, line in zip(steps(), saw, strict=True):
        expected = await reference.line(step["call"], step["input"], line["saw"])
        if line["saw"] != expected:
            wrong.append(f"{step['step']}: saw {line['saw']}, Python sees {expected}")
        if not holds(line["saw"], step["expect"]):
            wrong.append(f"{step['step']}: saw {line['saw']}, the script expects {step['expect']}")
    for stubs in callers.values():
        await stubs.close()
    assert not wrong, "\n\n".join(wrong)


async def run(command: list[str], environment: dict[str, str]) -> list[dict[str, Any]]:
    """Run a client; return the lines it printed. One that fails or hangs fails the test."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HIBANA_")}
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**kept, **environment},
    )
    try:
        printed, complaints = await asyncio.wait_for(process.communicate(), SECONDS)
    except TimeoutError:
        process.kill()
        printed, complaints = await process.communicate()
    assert process.returncode == 0, f"{printed[-2000:].decode()}\n{complaints[-4000:].decode()}"
    return [json.loads(line) for line in printed.splitlines()]


def steps() -> list[dict[str, Any]]:
    """Return the steps of the script; what it leaves open is filled in."""
    text = SCRIPT.read_text(encoding="utf-8").replace("${every_detail}", base64.b64encode(every_detail()).decode())
    found: list[dict[str, Any]] = json.loads(text)
    return found


def every_detail() -> bytes:
    """Pack a status with every detail that the contract names, some of which the service seldom sends, and another."""
    violation = error_details_pb2.QuotaFailure.Violation(subject="user:ü", description="5 of 5 modules")
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason="QUOTA_EXCEEDED", domain="hibana", metadata={"quota": "max_modules"}),
        error_details_pb2.BadRequest(field_violations=[{"field": "a.b[0]", "description": "x", "reason": "Y"}]),
        error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=2**33, nanos=999_999_999)),
        error_details_pb2.QuotaFailure(violations=[violation, violation]),
        module_pb2.Finding(severity=module_pb2.SEVERITY_WARNING, code="C", text="zażółć 🔥", fix="none"),
        error_details_pb2.Help(),
    ]
    status = status_pb2.Status(code=8, message="näh")
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status.SerializeToString()


def holds(saw: Any, wanted: Any) -> bool:
    """Tell whether what was seen has everything that is wanted; objects may have more, lists may not."""
    if isinstance(wanted, dict):
        return isinstance(saw, dict) and all(key in saw and holds(saw[key], value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(saw, list) and len(saw) == len(wanted) and all(map(holds, saw, wanted))
    return bool(saw == wanted)
