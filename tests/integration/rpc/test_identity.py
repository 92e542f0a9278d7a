"""Who calls is decided by the token alone; without one only health and reflection answer."""

from __future__ import annotations

from typing import Any, cast

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from hibana.v1 import executor_pb2, module_pb2, module_registry_pb2
from hibana_server.auth.tokens import issue
from hibana_server.domain.callers import Role
from hibana_server.rpc.server import SERVICES
from tests.framework.refusals import METHODS, call, refused
from tests.framework.server import Server
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import create, guest, header

LIST = module_registry_pb2.ListModulesRequest()


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
async def test_every_rpc_wants_a_token(stranger: Stubs, method: MethodDescriptor) -> None:
    request = GetMessageClass(method.input_type)()
    refusal = await refused(call(stranger.channel, method, request))
    assert refusal.told == ("UNAUTHENTICATED", "TOKEN_MISSING")
    assert "authorization: Bearer" in refusal.message


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
async def test_a_token_is_judged_before_the_request(stranger: Stubs, method: MethodDescriptor) -> None:
    refusal = await refused(call(stranger.channel, method, b"\xff\xff", [("authorization", "Bearer x.y.z")]))
    assert refusal.told == ("UNAUTHENTICATED", "TOKEN_INVALID")


@pytest.mark.parametrize(
    "metadata",
    [
        [("authorization", "")],
        [("authorization", "Bearer")],
        [("authorization", "Bearer ")],
        [("authorization", "Basic YWxpY2U6eA==")],
        [("authorization", "bearer x")],
        [("authorization", "Bearer " + "x" * 7000)],
        [("authorization", "Token {token}")],
        [("authorization", "{token}")],
        [("authorization", "Bearer {token} {token}")],
        [("authorization", "Bearer {token}"), ("authorization", "Bearer {token}")],
        [("authorization", "Bearer {token}"), ("authorization", "Bearer {admin}")],
    ],
)
async def test_bad_credentials(server: Server, stranger: Stubs, metadata: list[tuple[str, str]]) -> None:
    tokens = {"token": server.token("alice"), "admin": server.token("alice", Role.ADMIN)}
    sent = tuple((key, value.format(**tokens)) for key, value in metadata)
    refusal = await refused(stranger.registry.ListModules(LIST, metadata=sent))
    assert refusal.told == ("UNAUTHENTICATED", "TOKEN_INVALID")
    assert not any(token in refusal.message for token in tokens.values())


async def test_credentials_under_another_name_are_none(server: Server, stranger: Stubs) -> None:
    bearer = f"Bearer {server.token('alice')}"
    sent = (("x-authorization", bearer), ("cookie", bearer), ("authorization-bin", bearer.encode()))
    refusal = await refused(stranger.registry.ListModules(LIST, metadata=sent))
    assert refusal.reason == "TOKEN_MISSING"


async def test_a_token_of_another_server_is_refused(stranger: Stubs) -> None:
    foreign = issue(b"k" * 32, "alice", Role.ADMIN, 600)
    refusal = await refused(stranger.registry.ListModules(LIST, metadata=(("authorization", f"Bearer {foreign}"),)))
    assert refusal.told == ("UNAUTHENTICATED", "TOKEN_INVALID")


async def test_an_expired_token_says_so(server: Server, stranger: Stubs) -> None:
    expired = server.token("alice", ttl=-3600)
    refusal = await refused(stranger.registry.ListModules(LIST, metadata=(("authorization", f"Bearer {expired}"),)))
    assert refusal.told == ("UNAUTHENTICATED", "TOKEN_EXPIRED")


async def test_the_scheme_has_no_case(server: Server, stranger: Stubs) -> None:
    answer = await stranger.registry.ListModules(
        LIST, metadata=(("authorization", f"bEARER  {server.token('alice')}"),)
    )
    assert answer.total_size >= 0


async def test_metadata_cannot_raise_anybody(server: Server, stranger: Stubs, subject: str) -> None:
    """Whatever a proxy or an older client might send, subject and role come from the token."""
    forged = [
        ("x-role", "admin"),
        ("role", "admin"),
        ("x-tier", "admin"),
        ("x-subject", "root"),
        ("x-user", "root"),
        ("hibana-role", "admin"),
        ("hibana-caller", "root"),
        ("x-forwarded-user", "root"),
        ("x-forwarded-client-cert", "By=spiffe://root"),
        ("x-request-id", "root"),
    ]
    sent = (("authorization", f"Bearer {server.token(subject)}"), *forged)
    request = module_registry_pb2.CreateModuleRequest(wasm=guest("client_numbers"))
    request.header.CopyFrom(header("forged", tier=module_pb2.TIER_SYSTEM))
    refusal = await refused(stranger.registry.CreateModule(request, metadata=sent))
    assert refusal.told == ("PERMISSION_DENIED", "NOT_ALLOWED")
    request.header.ClearField("tier")
    stored = await stranger.registry.CreateModule(request, metadata=sent)
    assert (stored.module.owner, stored.version.creator) == (subject, subject)


async def test_a_service_has_a_users_rights(server: Server, subject: str) -> None:
    service = server.stubs(subject, Role.SERVICE)
    refusal = await refused(create(service, "tool", guest("client_numbers"), tier=module_pb2.TIER_ADMIN))
    assert refusal.told == ("PERMISSION_DENIED", "NOT_ALLOWED")
    assert (await create(service, "tool", guest("client_numbers"))).module.owner == subject
    await service.close()


@pytest.mark.parametrize("name", ["", *SERVICES])
async def test_health_needs_no_token(stranger: Stubs, name: str) -> None:
    answer = await stranger.health.Check(health_pb2.HealthCheckRequest(service=name))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_reflection_needs_no_token(stranger: Stubs) -> None:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(cast("grpc.Channel", stranger.channel))
    replies = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=10)
    names = [service.name async for reply in replies for service in reply.list_services_response.service]
    assert set(SERVICES) < set(names)


async def test_a_method_that_is_not_there_is_unimplemented(caller: Stubs) -> None:
    missing: Any = caller.channel.unary_unary("/hibana.v1.Executor/NoSuchMethod")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await missing(b"", timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_the_callers_request_id_is_in_the_log(server: Server, caller: Stubs) -> None:
    token = server.token(caller.subject)
    sent = (("authorization", f"Bearer {token}"), ("x-request-id", f"id-{caller.subject}"))
    await caller.executor.ListExecutions(executor_pb2.ListExecutionsRequest(), metadata=sent)
    line = server.wait_for_log("call", request_id=f"id-{caller.subject}")
    assert (line["caller"], line["code"]) == (caller.subject, "OK")
    assert line["method"] == "/hibana.v1.Executor/ListExecutions"
    assert token not in server.text()


async def test_a_strange_request_id_is_replaced(server: Server, caller: Stubs) -> None:
    sent = (("authorization", f"Bearer {server.token(caller.subject)}"), ("x-request-id", 'a" b'))
    await caller.executor.ListExecutions(executor_pb2.ListExecutionsRequest(), metadata=sent)
    line = server.wait_for_log("call", caller=caller.subject)
    assert len(line["request_id"]) == 36
