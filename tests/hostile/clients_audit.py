"""Callers who are refused without end, and who send what must not pass for anything else in the audit log."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from hibana.v1 import admin_pb2 as pb
from hibana.v1 import executor_pb2, module_pb2, module_registry_pb2
from tests.framework.audit import CHANGE, DENIAL, entries
from tests.framework.wasm import functions
from tests.hostile.cases import OK, Case, theme
from tests.hostile.house import House

EACH, TOTAL = 20, 600
"""Refusals of one sort, and of all, that are told one by one within a minute."""
PLACES = 10
"""Good calls made meanwhile."""
POISON = (
    "\x1b[2J\x1b]0;owned\x07",
    'line\n{"event": "audit_head", "chain": "change", "sequence": 1}',
    "\u202egnihtemos\u202c",
    "a\r\nb\tc\x7f\x85\u2028",
    "<script>alert(1)</script>",
    "'; DROP TABLE audit_entries; --",
    "\ufeff\u200b\u200d",
    "%s%n{0}${jndi:ldap://x}",
)


async def refused_without_end(house: House) -> None:
    """Be refused ten thousand times and with bad credentials as often: alice is served, the log grows by little."""
    forged = (("authorization", f"Bearer {house.server.token('mallory')[:-4]}AAAA"),)
    nobody = house.nobody()
    before = await house.metrics()
    changes = len(await entries(house.root, kind=CHANGE))
    count = house.times(600, 10_000)

    async def once(number: int) -> None:
        if number % 2:
            call: Any = house.mallory.admin.GetQuota(pb.GetQuotaRequest(subject=f"victim-{number}"))
        else:
            call = nobody.registry.ListModules(module_registry_pb2.ListModulesRequest(), metadata=forged)
        told = await house.refusal(call)
        assert told.code.name in {"NOT_FOUND", "UNAUTHENTICATED", "RESOURCE_EXHAUSTED"}, told

    async def good_calls() -> None:
        for _ in range(PLACES):
            assert (await house.add(timeout=10)).outcome == OK

    await asyncio.gather(house.repeat(count, once), good_calls())
    found = [each for each in await entries(house.root, kind=DENIAL) if each.action in ("quota.get", "authenticate")]
    assert found
    after = await house.metrics()
    grown = {
        name: after[f"hibana_audit_{name}_total"] - before.get(f"hibana_audit_{name}_total", 0.0)
        for name in ("stored", "counted")
    }
    # Told one by one, or counted: each is one of both.
    assert grown["counted"] > count - 20 * EACH, grown
    assert grown["stored"] < TOTAL, grown
    # None of it has pushed out a change.
    assert len(await entries(house.root, kind=CHANGE)) >= changes


async def told_as_it_is(house: House) -> None:
    """Send escape sequences, line breaks and long texts in every place that the log tells of."""
    name, codes = house.name(), set[str]()
    await house.upload(functions(1), name=name, module=module_pb2.ModuleSpec(description="x"))
    for number, poison in enumerate(POISON * house.times(1, 20)):
        changed = module_pb2.Module(
            name=f"user/{name}",
            description=(poison * 600)[: 4000 // 4],
            labels={"note": poison[:60].replace("\0", "")},
        )
        mask = FieldMask(paths=["description", "labels"])
        request = module_registry_pb2.UpdateModuleRequest(module=changed, update_mask=mask)
        hidden = f"executions/{poison}"[:100]
        calls = (
            lambda request=request: house.mallory.registry.UpdateModule(request),
            lambda poison=poison: house.mallory.admin.UpdateQuota(
                pb.UpdateQuotaRequest(quota=pb.Quota(subject=poison))
            ),
            lambda poison=poison: house.mallory.admin.GetQuota(pb.GetQuotaRequest(subject=poison)),
            lambda hidden=hidden: house.mallory.executor.GetExecution(executor_pb2.GetExecutionRequest(name=hidden)),
            lambda number=number: house.mallory.admin.ListQuotas(
                pb.ListQuotasRequest(), metadata=(*house.mallory.metadata, ("x-request-id", f"{'9' * 500}{number}"))
            ),
        )
        for call in calls:
            try:
                await call()
            except grpc.aio.AioRpcError as error:
                codes.add(error.code().name)
    assert codes <= {"NOT_FOUND", "PERMISSION_DENIED", "INVALID_ARGUMENT"}
    found = await entries(house.root, subject="mallory")
    assert {each.kind for each in found} == {CHANGE, DENIAL}
    for each in found:
        texts = (each.subject, each.action, each.resource, each.reference, each.detail, each.peer, each.request_id)
        for text in (*texts, each.before, each.after):
            assert text.isprintable(), each
            assert len(text.encode()) <= 2048, each
        assert len(each.request_id) <= 64
        for text in (each.before, each.after):
            assert isinstance(json.loads(text or "{}"), dict)
    # A line of the server's log is what the server wrote.
    assert all("\x1b" not in line for line in house.server.lines())


CASES = theme(
    "audit",
    Case("refused without end", refused_without_end, 12),
    Case("told as it is", told_as_it_is, 2),
)
