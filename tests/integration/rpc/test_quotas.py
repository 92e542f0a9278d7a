"""Quotas through the real service: numbers in refusals, no over-admission, and exceptions that hold at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from hibana.v1 import admin_pb2 as pb
from hibana.v1 import execution_pb2, executor_pb2, module_pb2, module_registry_pb2
from hibana_server.domain.callers import Role
from hibana_server.domain.quotas import Quota
from hibana_server.storage.data_dir import open_data_dir
from hibana_server.storage.sqlite.modules import SqliteModuleStore
from tests.framework.refusals import Refusal, refused, unpack
from tests.framework.server import Server
from tests.framework.stubs import Stubs, start_invoke
from tests.framework.wasm import functions
from tests.integration.rpc.conftest import PUBLIC, create, guest, invoke

Connect = Callable[..., Stubs]

SMALL = {
    "QUOTA_USER_MAX_REQUESTS_PER_MINUTE": "200",
    "QUOTA_USER_MAX_CONCURRENT_EXECUTIONS": "3",
    "QUOTA_USER_MAX_MODULES": "2",
    "QUOTA_USER_MAX_VERSIONS_PER_MODULE": "3",
    "QUOTA_USER_MAX_TOTAL_BYTES": "5000",
    "QUOTA_SERVICE_MAX_MODULES": "1",
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a server of small quotas."""
    with Server(tmp_path_factory.mktemp("quotas") / "data", SMALL) as running:
        yield running


@pytest.fixture
async def speak(small: Server) -> AsyncIterator[Connect]:
    """Open channels to it."""
    opened: list[Stubs] = []

    def make(subject: str, role: Role = Role.USER) -> Stubs:
        opened.append(small.stubs(subject, role))
        return opened[-1]

    yield make
    for stubs in opened:
        await stubs.close()


@pytest.fixture
async def boss(speak: Connect) -> Stubs:
    return speak("boss", Role.ADMIN)


@pytest.fixture(scope="module")
async def shared(small: Server) -> str:
    """Give a system module of numbers, and one that never ends, both for everybody."""
    boss = small.stubs("boss", Role.ADMIN)
    for name in ("numbers", "endless"):
        await create(boss, name, guest(f"client_{name}"), tier=module_pb2.TIER_SYSTEM)
    await boss.close()
    return "system/numbers"


async def set_quota(boss: Stubs, subject: str, *paths: str, **fields: Any) -> pb.Quota:
    request = pb.UpdateQuotaRequest(quota=pb.Quota(subject=subject, **fields))
    request.update_mask.paths.extend(paths)
    return (await boss.admin.UpdateQuota(request)).quota


async def report(stubs: Stubs, subject: str = "") -> pb.GetQuotaResponse:
    return await stubs.admin.GetQuota(pb.GetQuotaRequest(subject=subject))


async def told(call: Any) -> Refusal | None:
    """Make a call and return its refusal; None where it was not refused."""
    import grpc

    try:
        await call
    except grpc.aio.AioRpcError as error:
        return unpack(error)
    return None


def look(stubs: Stubs) -> Any:
    return stubs.registry.ListModules(module_registry_pb2.ListModulesRequest(page_size=1))


async def test_requests_of_fifty_at_once_pass_no_quota(speak: Connect, boss: Stubs, subject: str) -> None:
    await set_quota(boss, subject, max_requests_per_minute=120)
    several = [speak(subject) for _ in range(5)]

    async def caller(number: int) -> list[Refusal | None]:
        return [await told(look(several[number % 5])) for _ in range(5)]

    answers = [answer for some in await asyncio.gather(*map(caller, range(50))) for answer in some]
    assert answers.count(None) == 120
    for refusal in answers:
        if refusal is not None:
            assert refusal.told == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
            assert refusal.quotas == {"max_requests_per_minute": (120, 121)}
            assert refusal.retry_after is not None
            assert 0 < refusal.retry_after <= 61
    other = speak(f"{subject}-other")
    assert await told(look(other)) is None


async def test_executions_at_once_are_bounded(speak: Connect, shared: str, subject: str) -> None:
    stubs = speak(subject)
    endless = executor_pb2.InvokeRequest(module="system/endless")
    running = [await start_invoke(stubs, endless) for _ in range(3)]
    assert (await report(stubs)).usage.concurrent_executions == 3
    more = await asyncio.gather(*(told(invoke(stubs, shared, "nothing")) for _ in range(50)))
    for refusal in more:
        assert refusal is not None
        assert refusal.told == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
        assert refusal.quotas == {"max_concurrent_executions": (3, 4)}
        assert refusal.retry_after == 1
    for name, _ in running:
        await stubs.executor.CancelExecution(executor_pb2.CancelExecutionRequest(name=name))
    assert (await invoke(stubs, shared, "nothing")).outcome == execution_pb2.OUTCOME_OK
    assert (await report(stubs)).usage.concurrent_executions == 0


async def test_calls_that_wait_for_a_sandbox_count(speak: Connect, boss: Stubs, shared: str, subject: str) -> None:
    await set_quota(boss, subject, max_concurrent_executions=5)
    stubs = speak(subject)
    answers = await asyncio.gather(*(told(invoke(stubs, shared, "nothing")) for _ in range(50)))
    assert answers.count(None) >= 5
    assert {a.reason for a in answers if a is not None} <= {"QUOTA_EXCEEDED"}
    assert (await report(stubs)).usage.concurrent_executions == 0


async def test_what_ends_in_whatever_way_is_counted_back(speak: Connect, shared: str, subject: str) -> None:
    stubs = speak(subject)
    for _ in range(5):
        assert (await refused(invoke(stubs, shared, "no-such-function"))).reason == "FUNCTION_NOT_FOUND"
        assert (await refused(invoke(stubs, shared, "add", "x"))).reason == "ARGUMENTS_INVALID"
        limits = executor_pb2.CallLimits()
        limits.timeout.FromMilliseconds(20)
        ended = await invoke(stubs, "system/endless", limits=limits)
        assert ended.outcome == execution_pb2.OUTCOME_TIMEOUT
        _, call = await start_invoke(stubs, executor_pb2.InvokeRequest(module="system/endless"))
        call.cancel()
        request = executor_pb2.ListExecutionsRequest(state=execution_pb2.EXECUTION_STATE_RUNNING)
        while (await stubs.executor.ListExecutions(request)).total_size:
            pass
    assert (await report(stubs)).usage.concurrent_executions == 0


async def test_cpu_time_is_bounded_within_a_minute(speak: Connect, boss: Stubs, shared: str, subject: str) -> None:
    quota = pb.Quota(subject=subject)
    quota.max_cpu_per_minute.FromMilliseconds(100)
    await boss.admin.UpdateQuota(pb.UpdateQuotaRequest(quota=quota))
    stubs = speak(subject)
    limits = executor_pb2.CallLimits()
    limits.timeout.FromMilliseconds(400)
    for _ in range(20):
        refusal = await told(invoke(stubs, "system/endless", limits=limits))
        if refusal is not None:
            break
    else:
        pytest.fail("the CPU time was never used up")
    assert refusal.told == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
    ((limit, used),) = (refusal.quotas["max_cpu_per_minute"],)
    assert limit == 0  # in whole seconds
    assert used >= 0.1
    assert refusal.retry_after is not None
    assert 1 < refusal.retry_after <= 61
    assert (await report(stubs)).usage.cpu_last_minute.ToTimedelta().total_seconds() >= 0.1
    await set_quota(boss, subject, "max_cpu_per_minute")
    assert (await invoke(stubs, shared, "nothing")).outcome == execution_pb2.OUTCOME_OK


async def test_storage_is_bounded_with_the_numbers(speak: Connect, subject: str) -> None:
    stubs = speak(subject)
    for name in ("one", "two"):
        await create(stubs, name, guest("client_numbers"))
    refusal = await refused(create(stubs, "three", guest("client_numbers")))
    assert refusal.told == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
    assert refusal.quotas == {"max_modules": (2, 3)}
    assert refusal.retry_after == 3600
    assert "hibana quota set" in refusal.message
    for version in ("2", "3"):
        await create(stubs, "one", guest("client_exit"), version)
    assert (await refused(create(stubs, "one", guest("client_cat"), "4"))).quotas == {"max_versions_per_module": (3, 4)}
    large = functions(3000)
    refusal = await refused(create(stubs, "two", large, "2"))
    assert set(refusal.quotas) == {"max_total_bytes"}
    usage = (await report(stubs)).usage
    limit, used = refusal.quotas["max_total_bytes"]
    assert (limit, used) == (5000.0, float(usage.total_bytes + len(large)))
    assert usage.modules == 2
    assert not (await create(stubs, "three", guest("client_numbers"), validate_only=True)).existed


async def test_uploads_at_once_pass_no_quota(speak: Connect, boss: Stubs, subject: str) -> None:
    await set_quota(boss, subject, max_modules=5, max_total_bytes=10**9)
    stubs = speak(subject)
    answers = await asyncio.gather(*(told(create(stubs, f"m{n}", guest("client_exit"))) for n in range(50)))
    assert answers.count(None) == 5
    assert {a.reason for a in answers if a is not None} <= {"QUOTA_EXCEEDED", "COMPILE_QUEUE_FULL"}
    assert (await report(stubs)).usage.modules == 5


async def test_a_module_is_not_given_to_whom_it_does_not_fit(speak: Connect, subject: str) -> None:
    giver, taker = speak(subject), speak(f"{subject}-taker")
    for name in ("one", "two"):
        await create(taker, name, guest("client_exit"))
    await create(giver, "gift", guest("client_exit"))
    request = module_registry_pb2.TransferModuleRequest(module="user/gift", new_owner=taker.subject)
    refusal = await refused(giver.registry.TransferModule(request))
    assert refusal.told == ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED")
    assert refusal.quotas == {}  # what others have is not told


async def test_roles_have_defaults_of_their_own(speak: Connect, subject: str) -> None:
    service = speak(subject, Role.SERVICE)
    assert (await report(service)).role == "service"
    assert (await report(service)).quota.max_modules == 1
    chief = await report(speak("chief", Role.ADMIN))
    assert (chief.role, chief.quota) == ("admin", pb.Quota(subject="chief"))


async def test_an_exception_holds_for_the_next_call_and_until_it_is_taken_back(
    speak: Connect, boss: Stubs, subject: str
) -> None:
    stubs = speak(subject)
    await create(stubs, "one", guest("client_exit"))
    now = await set_quota(boss, subject, max_modules=1, max_requests_per_minute=1000)
    assert (now.max_modules, now.max_versions_per_module) == (1, 3)
    assert (await refused(create(stubs, "two", guest("client_exit")))).quotas == {"max_modules": (1, 2)}
    answer = await report(stubs)
    assert (answer.quota, answer.exception.max_modules, answer.exception.max_versions_per_module) == (now, 1, 0)
    assert (await report(boss, subject)).quota == now
    await set_quota(boss, subject, "max_modules", max_modules=3)
    assert (await report(stubs)).exception == pb.Quota(subject=subject, max_modules=3, max_requests_per_minute=1000)
    await create(stubs, "two", guest("client_exit"))
    await set_quota(boss, subject)
    answer = await report(stubs)
    assert (answer.quota.max_modules, answer.exception) == (2, pb.Quota(subject=subject))


async def test_an_exception_set_by_another_process_holds_for_the_next_call(
    small: Server, speak: Connect, subject: str
) -> None:
    stubs = speak(subject)
    assert await told(look(stubs)) is None
    store = SqliteModuleStore(open_data_dir(small.data_dir).registry_db)
    await store.quotas.change(subject, lambda _: Quota(max_requests_per_minute=1), time=1)
    refusal = await told(look(stubs))
    assert refusal is not None
    assert refusal.quotas == {"max_requests_per_minute": (1, 2)}
    await store.quotas.change(subject, lambda _: Quota(), time=2)
    assert await told(look(stubs)) is None
    await store.close()


async def test_exceptions_survive_a_restart_and_the_last_minute_does_not(tmp_path: Any) -> None:
    with Server(tmp_path / "data") as server:
        boss, alice = server.stubs("boss", Role.ADMIN), server.stubs("alice")
        await set_quota(boss, "alice", max_requests_per_minute=2)
        await look(alice)
        await look(alice)
        assert (await refused(look(alice))).reason == "QUOTA_EXCEEDED"
        await boss.close()
        await alice.close()
        server.stop()
        server.start()
        alice = server.stubs("alice")
        await look(alice)
        await look(alice)
        assert (await refused(look(alice))).reason == "QUOTA_EXCEEDED"
        await alice.close()


async def test_quotas_are_listed_and_set_by_admins(speak: Connect, boss: Stubs, subject: str) -> None:
    stubs = speak(subject)
    for call in (
        stubs.admin.ListQuotas(pb.ListQuotasRequest()),
        stubs.admin.UpdateQuota(pb.UpdateQuotaRequest(quota=pb.Quota(subject=subject, max_modules=10**6))),
    ):
        assert (await refused(call)).told == ("PERMISSION_DENIED", "NOT_ALLOWED")
    one = await refused(stubs.admin.GetQuota(pb.GetQuotaRequest(subject="boss")))
    assert one.told == ("NOT_FOUND", "NOT_FOUND")
    assert one == await refused(stubs.admin.GetQuota(pb.GetQuotaRequest(subject="nobody-of-this-name")))
    names = [f"{subject}-listed-{n}" for n in range(3)]
    for name in names:
        await set_quota(boss, name, max_modules=1)
    seen, token = [], ""
    while True:
        page = await boss.admin.ListQuotas(pb.ListQuotasRequest(page_size=2, page_token=token))
        seen += [quota.subject for quota in page.quotas]
        token = page.next_page_token
        if not token:
            break
    assert set(names) <= set(seen)
    assert seen == sorted(seen)
    assert page.total_size == len(seen)
    wrong = await refused(set_quota(boss, subject, "subject", max_modules=1))
    assert wrong.told == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert wrong.fields == ("update_mask",)


async def test_public_modules_count_for_who_runs_them(speak: Connect, boss: Stubs, subject: str) -> None:
    owner, runner = speak(subject), speak(f"{subject}-runner")
    await create(owner, "open", guest("client_numbers"), module=PUBLIC)
    await set_quota(boss, runner.subject, max_requests_per_minute=2)
    reference = f"user/{subject}/open"
    await invoke(runner, reference, "nothing")
    await invoke(runner, reference, "nothing")
    assert (await refused(invoke(runner, reference, "nothing"))).reason == "QUOTA_EXCEEDED"
    assert (await report(owner)).usage.requests_last_minute == 2
