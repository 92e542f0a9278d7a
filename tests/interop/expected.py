"""What a client must have seen, asked of the same server in Python after the client is done.

A refused call is made again: it changes nothing, so its answer must be the same to the letter. What was stored or run
is read back.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import field_mask_pb2, struct_pb2

from hibana.v1 import execution_pb2, executor_pb2, module_pb2, module_registry_pb2, value_pb2
from tests.framework.stubs import Stubs
from tests.interop import lines
from tests.interop.lines import Line

EVERYTHING = 500
"""The largest page."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The callers of the script, and the guests they upload."""

    callers: dict[str, Stubs]
    """`user`, `nobody` (no token) and `latecomer` (of a service that is full)."""
    guests: Path

    async def line(self, call: str, given: Line, saw: Line) -> Line:
        """Return what a client must print for a call; `saw`, what it did print, names executions."""
        caller = self.callers[given.get("as", "user")]
        method = getattr(self, f"_{call.replace('-', '_')}")
        try:
            line: Line = await method(caller, given, saw)
        except grpc.aio.AioRpcError as error:
            return {"status": lines.refusal(error)}
        return line

    # ------------------------------------------------------------ registry

    async def _upload(self, caller: Stubs, given: Line, saw: Line) -> Line:
        wasm = (self.guests / f"{given['guest']}.wasm").read_bytes()
        header = module_registry_pb2.UploadHeader(
            module_name=given["name"], version=given["version"], validate_only=given.get("validate_only", False)
        )
        answer = await caller.registry.CreateModule(module_registry_pb2.CreateModuleRequest(header=header, wasm=wasm))
        # The script says whether it was there before; by now it is.
        existed = saw.get("existed")
        return {"existed": existed, "module": lines.module(answer.module), "version": lines.version(answer.version)}

    _create = _upload

    async def _upload_unfinished(self, caller: Stubs, given: Line, saw: Line) -> Line:
        """Clients word a deadline of their own differently."""
        message = saw.get("status", {}).get("message")
        empty = lines.packed_status(b"")
        return {"status": {"code": grpc.StatusCode.DEADLINE_EXCEEDED.name, "message": message, **empty}}

    async def _list_modules(self, caller: Stubs, given: Line, saw: Line) -> Line:
        answer = await caller.registry.ListModules(module_registry_pb2.ListModulesRequest(page_size=EVERYTHING))
        return pages([each.module_name for each in answer.modules], given["page_size"])

    async def _get_module(self, caller: Stubs, given: Line, saw: Line) -> Line:
        answer = await caller.registry.GetModule(module_registry_pb2.GetModuleRequest(module=given["module"]))
        return {"module": lines.module(answer.module)}

    async def _update_module(self, caller: Stubs, given: Line, saw: Line) -> Line:
        changed = module_pb2.Module(name=given["module"], etag=given["etag"], description=given["description"])
        request = module_registry_pb2.UpdateModuleRequest(
            module=changed, update_mask=field_mask_pb2.FieldMask(paths=["description"])
        )
        answer = await caller.registry.UpdateModule(request)
        return {"module": lines.module(answer.module)}

    async def _download(self, caller: Stubs, given: Line, saw: Line) -> Line:
        request = module_registry_pb2.GetModuleVersionRequest(version=given["version"])
        version = (await caller.registry.GetModuleVersion(request)).version
        (wasm,) = [data for path in self.guests.glob("*.wasm") if digest(data := path.read_bytes()) == version.sha256]
        return {"version": lines.version(version), "sha256": digest(wasm), "size": str(len(wasm))}

    # ------------------------------------------------------------ executor

    async def _invoke(self, caller: Stubs, given: Line, saw: Line) -> Line:
        if "status" in saw:
            await caller.executor.Invoke(invocation(given))
            return {"status": None}
        record = await self._record(caller, saw)
        return {"execution": record.name, "version": version_name(record), **await self._ended(caller, record, given)}

    async def _execute(self, caller: Stubs, given: Line, saw: Line) -> Line:
        record = await self._record(caller, saw)
        middle = saw["events"][1:-1]
        return {
            "sequences": [str(number) for number in range(1, len(saw["events"]) + 1)],
            "events": ["started", *(each for each in middle if each in {"stdout", "stderr"}), "result"],
            "execution": record.name,
            "version": version_name(record),
            "sha256": record.sha256,
            "limits": lines.limits(record.limits),
            **await self._ended(caller, record, given),
            "stdout_bytes": str(record.output.stdout_bytes),
            "stderr_bytes": str(record.output.stderr_bytes),
        }

    async def _cancel(self, caller: Stubs, given: Line, saw: Line) -> Line:
        record = await self._record(caller, saw)
        return {"execution": record.name, "outcome": outcome(record), "record": lines.record(record)}

    async def _list_executions(self, caller: Stubs, given: Line, saw: Line) -> Line:
        request = executor_pb2.ListExecutionsRequest(page_size=EVERYTHING, module=given["module"])
        answer = await caller.executor.ListExecutions(request)
        return pages([lines.record(each) for each in answer.executions], given["page_size"])

    async def _decode(self, caller: Stubs, given: Line, saw: Line) -> Line:
        return lines.packed_status(base64.b64decode(given["status"]))

    async def _record(self, caller: Stubs, saw: Line) -> execution_pb2.Execution:
        request = executor_pb2.GetExecutionRequest(name=saw.get("execution", ""))
        return (await caller.executor.GetExecution(request)).execution

    async def _ended(self, caller: Stubs, record: execution_pb2.Execution, given: Line) -> Line:
        done = record.outcome == execution_pb2.OUTCOME_OK
        values = lines.json_values(record.output.json_results)
        request = module_registry_pb2.GetModuleVersionRequest(version=version_name(record))
        exports = (await caller.registry.GetModuleVersion(request)).version.exports
        kinds = next(list(each.results) for each in exports if each.name == record.function)
        return {
            "outcome": outcome(record),
            "typed": list(map(lines.typed, kinds, values)) if done and "typed" in given else None,
            "json": values if done and "json" in given else None,
            "failure": lines.failure(record.failure) if record.HasField("failure") else None,
            "stdout": record.output.stdout.hex(),
            "stderr": record.output.stderr.hex(),
        }


def pages(items: list[Any], size: int) -> Line:
    """Show a whole list as it comes in pages."""
    cut = [items[start : start + size] for start in range(0, len(items), size)]
    return {"pages": cut, "total_sizes": [str(len(items))] * len(cut)}


def invocation(given: Line) -> executor_pb2.InvokeRequest:
    """Make the request of an `invoke`."""
    request = executor_pb2.InvokeRequest(module=given["module"], function=given["function"])
    if "json" in given:
        request.json_arguments.CopyFrom(struct_pb2.ListValue())
        request.json_arguments.extend(given["json"])
    else:
        request.typed_arguments.CopyFrom(value_pb2.ListOfValues(values=map(lines.typed_argument, given["typed"])))
    return request


def version_name(record: execution_pb2.Execution) -> str:
    """Spell the version that ran as answers do; a record has its label."""
    return f"{record.module}/versions/{record.version}"


def outcome(record: execution_pb2.Execution) -> str:
    """Name the outcome of an execution."""
    return execution_pb2.Outcome.Name(record.outcome)


def digest(data: bytes) -> str:
    """Return the SHA-256 of bytes in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
