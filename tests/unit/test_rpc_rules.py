"""Every field of every request has a rule; methods of later releases answer so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from hibana.v1 import admin_pb2, executor_pb2, module_registry_pb2
from hibana_server.domain.errors import Invalid, Unimplemented
from hibana_server.rpc.admin import AdminServicer
from hibana_server.rpc.executor import ExecutorServicer
from hibana_server.rpc.later import later
from hibana_server.rpc.registry import ModuleRegistryServicer
from hibana_server.rpc.rules import RULES
from hibana_server.rpc.server import SERVICES
from hibana_server.rpc.validate import validate

PROTO = Path(__file__).resolve().parents[2] / "proto/hibana/v1"
FILES = (module_registry_pb2, executor_pb2, admin_pb2)
SERVICERS: dict[str, type[Any]] = {
    "ModuleRegistry": ModuleRegistryServicer,
    "Executor": ExecutorServicer,
    "Admin": AdminServicer,
}
METHODS: list[MethodDescriptor] = [
    method for file in FILES for service in file.DESCRIPTOR.services_by_name.values() for method in service.methods
]
LATER = "UNIMPLEMENTED (NOT_IMPLEMENTED) in this release"


def requests() -> dict[str, Descriptor]:
    return {method.input_type.full_name: method.input_type for method in METHODS}


def comments() -> dict[tuple[str, str], str]:
    """Return the comment of every RPC in the sources of the contract, with that of its service in front."""
    found = {}
    for file in PROTO.glob("*.proto"):
        text = file.read_text(encoding="utf-8")
        for service in re.finditer(r"((?:^//.*\n)+)service (\w+) \{\n((?:.*\n)*?)^\}", text, re.MULTILINE):
            for rpc in re.finditer(r"((?:^ +//.*\n)+) +rpc (\w+)\(", service[3], re.MULTILINE):
                words = f"{service[1]} {rpc[1]}".replace("//", " ").split()
                found[service[2], rpc[2]] = " ".join(words)
    return found


def test_every_request_has_rules_and_every_rule_a_request() -> None:
    assert {kind.DESCRIPTOR.full_name for kind in RULES} == set(requests())
    assert set(SERVICES) == {
        service.full_name for file in FILES for service in file.DESCRIPTOR.services_by_name.values()
    }


@pytest.mark.parametrize("name", sorted(requests()))
def test_every_field_of_a_request_has_a_rule(name: str) -> None:
    descriptor = requests()[name]
    rules = RULES[GetMessageClass(descriptor)]
    assert set(rules) == {field.name for field in descriptor.fields}


@pytest.mark.parametrize("name", ["UploadHeader", "ModuleSpec", "ModuleLimits", "CallLimits", "SessionOpen", "Quota"])
def test_nested_messages_are_checked_field_by_field(name: str) -> None:
    """Whatever takes text or numbers refuses text with NUL, endless text or a number below every range."""
    files = [f.DESCRIPTOR for f in FILES] + [d for f in FILES for d in f.DESCRIPTOR.dependencies]
    descriptor = next(d.message_types_by_name[name] for d in files if name in d.message_types_by_name)
    leaves = [f for f in descriptor.fields if f.message_type is None or f.message_type.full_name not in INNER]
    unchecked = [f"{name}.{field.name}" for field in leaves if not _refuses_something(name, field.name)]
    # Booleans are bounded by their type.
    assert [field for field in unchecked if field not in BOOLEANS] == []


BOOLEANS = {
    "UploadHeader.publish",
    "UploadHeader.validate_only",
    "ModuleSpec.is_public",
    "ModuleSpec.sensitive_input",
    "SessionOpen.fresh_instance_per_call",
    "SessionOpen.batch_answers",
    "SessionOpen.sensitive_input",
}
INNER = {"hibana.v1.ModuleSpec", "hibana.v1.ModuleLimits", "hibana.v1.CallLimits"}
"""Messages inside the others that have a case of their own."""
PLACES: dict[str, tuple[type[Message], str]] = {
    "UploadHeader": (module_registry_pb2.CreateModuleRequest, "header"),
    "ModuleSpec": (module_registry_pb2.CreateModuleRequest, "header.module"),
    "ModuleLimits": (module_registry_pb2.CreateModuleRequest, "header.module.limits"),
    "CallLimits": (executor_pb2.InvokeRequest, "limits"),
    "SessionOpen": (executor_pb2.SessionRequest, "open"),
    "Quota": (admin_pb2.UpdateQuotaRequest, "quota"),
}


def _refuses_something(name: str, field: str) -> bool:
    kind, path = PLACES[name]
    bad = ("\0", "x" * 500_000, -1, 2**40, 99, b"x" * 5_000_000, ["\0"], {"\0": "\0"}, {"seconds": -1})
    for value in (*bad, [{"name": "\0"}]):
        request = kind()
        inner: Any = request
        for part in path.split("."):
            inner = getattr(inner, part)
        try:
            place = getattr(inner, field)
            if isinstance(value, dict) and hasattr(place, "DESCRIPTOR"):
                place.CopyFrom(type(place)(**value))
            elif isinstance(value, list) and isinstance(value[0], dict):
                place.add(**value[0])
            elif isinstance(value, list):
                place.extend(value)
            elif isinstance(value, dict):
                place.update(value)
            else:
                setattr(inner, field, value)
        except (TypeError, ValueError, AttributeError):
            continue  # not a value of this field's type
        try:
            validate(request, request.ByteSize())
        except Invalid as error:
            if any(v.field.startswith(f"{path}.{field}") for v in error.violations):
                return True
    return False


def test_a_request_without_rules_is_a_defect() -> None:
    with pytest.raises(KeyError):
        validate(executor_pb2.SessionStdinEnd(), 0)


def test_a_request_of_more_than_4_mib_is_refused_unless_it_is_an_upload() -> None:
    size = 4 * 1024 * 1024
    call = executor_pb2.InvokeRequest(module="user/a", stdin=b"x" * size)
    validate(call, call.ByteSize())
    call.stdin += b"x" * 2000
    with pytest.raises(Invalid) as caught:
        validate(call, call.ByteSize())
    assert caught.value.reason == "INPUT_TOO_LARGE"
    header = module_registry_pb2.UploadHeader(module_name="a", version="1")
    upload = module_registry_pb2.CreateModuleRequest(header=header, wasm=b"x" * (2 * size))
    validate(upload, upload.ByteSize())


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_what_is_served_is_what_the_contract_says(method: MethodDescriptor) -> None:
    served = getattr(SERVICERS[method.containing_service.name], method.name)
    is_later = served.__code__ is later(method.name).__code__
    said = comments()[method.containing_service.name, method.name]
    assert is_later == (LATER in said)
    assert served.__name__ == method.name


async def test_a_later_method_says_which_and_what_to_do() -> None:
    with pytest.raises(Unimplemented, match="ListGrants is in the contract but not served by this release"):
        await later("ListGrants")(None, None, None)
