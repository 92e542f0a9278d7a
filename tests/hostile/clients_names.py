"""Names that are paths, look like others, or carry what they must not; and the names of others' things."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hibana.v1 import executor_pb2, module_registry_pb2
from tests.framework.wasm import functions
from tests.hostile.cases import Case, theme
from tests.hostile.house import House

NAMES = (
    "",
    ".",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "a\0b",
    "-rf",
    "UPPER",
    "v\u0430ult",  # a Cyrillic letter
    "vault\u200b",
    "vault ",
    "\u202etluav",
    "ｖault",
    "vault\n",
    "vault@1",
    "%76ault",
    "con\x1b[2J",
    "a" * 64,
    "a" * 100_000,
    "'; drop table modules; --",
    "{{7*7}}",
    "${HOME}",
    "%n%n%n",
    "\U0001f525",
)
REFERENCES = (
    "",
    "user",
    "user/",
    "user//vault",
    "user/../user/vault",
    "user/./vault",
    "user/vault/",
    "user/vault@",
    "user/vault@@1",
    "user/vault@1@1",
    "user/VAULT",
    "user/v\u0430ult",
    "user/vault\0",
    "user/alice%2Fvault",
    "user/%61lice/../vault",
    "user/alice%00/vault",
    "user/alice%/vault",
    "user/alice%zz/vault",
    "user/alice%c3%28/vault",
    "system/vault",
    "admin/vault",
    "root/vault",
    "modules/",
    "modules/../vault",
    "modules/x/versions/1",
    "modules/00000000-0000-0000-0000-000000000000",
    "executions/00000000-0000-0000-0000-000000000000",
    "user/" + "a" * 5_000,
    "user/" + "a/" * 500 + "vault",
    "*",
    "user/*",
    "user/vault@*",
    "user/' or 1=1 --",
)
VERSIONS = ("UPPER", "a" * 64)
"""Names that are none of a module, but of a version."""
REFUSED = frozenset({"INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "FAILED_PRECONDITION", "UNIMPLEMENTED"})


async def names(house: House) -> None:
    """Upload under each name and version that is none."""
    for name in NAMES:
        for module, version in ((name, "1"), (house.name(), name)):
            if version in VERSIONS:
                continue
            header = module_registry_pb2.UploadHeader(module_name=module, version=version)
            request = module_registry_pb2.CreateModuleRequest(header=header, wasm=functions(1))
            refusal = await house.refusal(house.mallory.registry.CreateModule(request))
            assert refusal.code.name == "INVALID_ARGUMENT", (module, version, refusal)
            assert refusal.message.isprintable()
    assert list(house.server.data_dir.rglob("*passwd*")) == []


async def references(house: House) -> None:
    """Ask for modules and executions by each reference that is none."""
    mallory = house.mallory
    for text in REFERENCES:
        calls: list[Any] = [
            mallory.executor.Invoke(executor_pb2.InvokeRequest(module=text, function="add")),
            mallory.executor.Execute(executor_pb2.ExecuteRequest(module=text, function="add")),
            mallory.registry.GetModule(module_registry_pb2.GetModuleRequest(module=text)),
            mallory.registry.GetModuleVersion(module_registry_pb2.GetModuleVersionRequest(version=text)),
            mallory.registry.ListModuleVersions(module_registry_pb2.ListModuleVersionsRequest(module=text)),
            mallory.executor.GetExecution(executor_pb2.GetExecutionRequest(name=text)),
            mallory.executor.CancelExecution(executor_pb2.CancelExecutionRequest(name=text)),
        ]
        for call in calls:
            refusal = await house.refusal(call)
            assert refusal.code.name in REFUSED, (text, refusal)
            assert refusal.message.isprintable(), (text, refusal)


async def function_names(house: House) -> None:
    """Call functions whose names are none of the module's."""
    for name in ("../add", "add\0", "ADD", "\u0430dd", "__proto__", "memory", "a" * 100_000, "\x1b[2J", "add "):
        refusal = await house.refused_invoke("user/vault", name)
        assert refusal.code.name in {"NOT_FOUND", "INVALID_ARGUMENT"}, (name, refusal)
        assert refusal.message.isprintable()


async def things_of_others(house: House) -> None:
    """Ask for alice's module, version and execution by their true names: each answers exactly like an unknown one."""
    stored = await house.upload(functions(2), caller=house.alice)
    run = await house.add()
    module, version = stored.module, stored.version
    pairs = [
        (module.name, "modules/" + _other(module.uid)),
        (version.name, f"modules/{_other(module.uid)}/versions/1"),
        (f"user/alice/{module.module_name}", "user/alice/no-such-module"),
        (f"user/alice/{module.module_name}@1", "user/alice/no-such-module@1"),
    ]
    registry, executor = house.mallory.registry, house.mallory.executor
    about_modules: list[Callable[[str], Any]] = [
        lambda name: executor.Invoke(executor_pb2.InvokeRequest(module=name, function="add")),
        lambda name: executor.Execute(executor_pb2.ExecuteRequest(module=name, function="add")),
        lambda name: registry.GetModule(module_registry_pb2.GetModuleRequest(module=name)),
        lambda name: registry.GetModuleVersion(module_registry_pb2.GetModuleVersionRequest(version=name)),
        lambda name: registry.ListModuleVersions(module_registry_pb2.ListModuleVersionsRequest(module=name)),
        lambda name: executor.ListExecutions(executor_pb2.ListExecutionsRequest(module=name)),
    ]
    about_executions: list[Callable[[str], Any]] = [
        lambda name: executor.GetExecution(executor_pb2.GetExecutionRequest(name=name)),
        lambda name: executor.CancelExecution(executor_pb2.CancelExecutionRequest(name=name)),
    ]
    for true, unknown in pairs:
        for ask in about_modules:
            await same(house, ask(true), ask(unknown))
    other = "executions/" + _other(run.execution.removeprefix("executions/"))
    for ask in about_executions:
        await same(house, ask(run.execution), ask(other))
    listed = await executor.ListExecutions(executor_pb2.ListExecutionsRequest(caller="alice"))
    assert (listed.total_size, len(listed.executions)) == (0, 0)
    modules = await registry.ListModules(module_registry_pb2.ListModulesRequest(owner="alice"))
    assert (modules.total_size, len(modules.modules)) == (0, 0)


def _other(uid: str) -> str:
    """Return a uid of the same form that nothing has."""
    return uid[:-1] + ("0" if uid[-1] != "0" else "1")


async def same(house: House, one: Any, two: Any) -> None:
    """Check that two refusals differ in nothing."""
    first, second = await house.refusal(one), await house.refusal(two)
    assert (first.told, first.message, first.raw) == (second.told, second.message, second.raw)


async def page_tokens(house: House) -> None:
    """List with page tokens of one's own making, and with those of another list."""
    executor, registry = house.mallory.executor, house.mallory.registry
    for _ in range(3):
        await house.add(house.mallory)
    good = (await executor.ListExecutions(executor_pb2.ListExecutionsRequest(page_size=1))).next_page_token
    assert good
    for token in (good[:-1], good + "x", "AAAA", "\0", "../", "a" * 100_000, good[::-1]):
        refusal = await house.refusal(executor.ListExecutions(executor_pb2.ListExecutionsRequest(page_token=token)))
        assert refusal.code.name == "INVALID_ARGUMENT", (token[:40], refusal)
    other = executor_pb2.ListExecutionsRequest(page_token=good, function="add")
    assert (await house.refusal(executor.ListExecutions(other))).code.name == "INVALID_ARGUMENT"
    modules = module_registry_pb2.ListModulesRequest(page_token=good)
    assert (await house.refusal(registry.ListModules(modules))).code.name == "INVALID_ARGUMENT"
    for size in (-1, -(2**31)):
        listing = executor_pb2.ListExecutionsRequest(page_size=size)
        assert (await house.refusal(executor.ListExecutions(listing))).code.name == "INVALID_ARGUMENT"
    await executor.ListExecutions(executor_pb2.ListExecutionsRequest(page_size=2**31 - 1))


CASES = theme(
    "names",
    Case("of modules and versions", names, 0.5),
    Case("references", references, 0.5),
    Case("functions", function_names),
    Case("things of others", things_of_others, 0.5),
    Case("page tokens", page_tokens),
)
