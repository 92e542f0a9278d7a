"""Wrong input of every field and kind: made from the contract's descriptors, sent to the real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from hibana.v1 import module_registry_pb2
from tests.framework.refusals import METHODS, call, refused
from tests.framework.stubs import Stubs

UNBOUNDED = {
    # The service judges these by the module they are for.
    "typed_arguments",
    "json_arguments",
    # Served by a later release, which brings its rules.
    "CreateGrantRequest.grant",
    # Holds nothing.
    "stdin_end",
}
LONG_TEXT = "x" * 300_000
BYTES = {"chunk": 2**20 + 1, "wasm": 10 * 2**20 + 1, "stdin": 5 * 2**20, "data": 5 * 2**20}
Number = FieldDescriptor


@dataclass(frozen=True)
class Wrong:
    """A request with one wrong field."""

    method: MethodDescriptor
    path: str
    what: str
    request: Message

    def __str__(self) -> str:
        return f"{self.method.name}-{self.path}-{self.what}"


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def spoilers(field: FieldDescriptor) -> Iterator[tuple[str, str, Callable[[Any], object]]]:
    """Yield (what, suffix of the path, function that spoils the field of a message)."""
    name = field.name

    def put(value: Any) -> Callable[[Any], object]:
        return lambda message: setattr(message, name, value)

    if is_map(field):
        yield "a key with NUL", ".key[0]", lambda m: getattr(m, name).update({"a\0": "v"})
        yield "a value with NUL", ".value[0]", lambda m: getattr(m, name).update({"a": "v\0"})
        yield "an empty key", ".key[0]", lambda m: getattr(m, name).update({"": "v"})
        yield "a long value", "", lambda m: getattr(m, name).update({"a": LONG_TEXT})
        yield "many entries", "", lambda m: getattr(m, name).update({f"k{i}": "" for i in range(1000)})
    elif field.is_repeated and field.type == Number.TYPE_STRING:
        yield "an item with NUL", "[0]", lambda m: getattr(m, name).append("a\0")
        yield "a long item", "", lambda m: getattr(m, name).append(LONG_TEXT)
        yield "many items", "", lambda m: getattr(m, name).extend(["a"] * 3000)
    elif field.is_repeated:
        yield "many items", "", lambda m: [getattr(m, name).add() for _ in range(3000)]
    elif field.type == Number.TYPE_STRING:
        yield "NUL", "", put("\0")
        yield "long text", "", put(LONG_TEXT)
    elif field.type == Number.TYPE_BYTES:
        yield "many bytes", "", put(b"x" * BYTES[name])
    elif field.type == Number.TYPE_ENUM:
        yield "an unknown value", "", put(99)
        yield "a negative value", "", put(-1)
    elif field.type in {Number.TYPE_INT32, Number.TYPE_INT64}:
        yield "a negative number", "", put(-1)
        if field.type == Number.TYPE_INT64:
            yield "a huge number", "", put(2**63 - 1)
    elif field.message_type is not None and field.message_type.full_name == "google.protobuf.Duration":
        yield "a malformed duration", "", lambda m: _set(m, name, seconds=1, nanos=-1)
        yield "a negative duration", "", lambda m: _set(m, name, seconds=-5)
        yield "an endless duration", "", lambda m: _set(m, name, seconds=2**62)
    elif field.message_type is not None and field.message_type.full_name == "google.protobuf.Timestamp":
        yield "a time before 1970", "", lambda m: _set(m, name, seconds=-1)
        yield "a time after 9999", "", lambda m: _set(m, name, seconds=2**62)
        yield "a malformed time", "", lambda m: _set(m, name, nanos=2_000_000_000)


def _set(message: Any, name: str, *, seconds: int = 0, nanos: int = 0) -> None:
    getattr(message, name).seconds = seconds
    getattr(message, name).nanos = nanos


def leaves(descriptor: Descriptor, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], FieldDescriptor]]:
    """Yield every field that has a rule of its own, with the way to the message that holds it."""
    for field in descriptor.fields:
        if field.name in UNBOUNDED or f"{descriptor.name}.{field.name}" in UNBOUNDED:
            continue
        if field.type == Number.TYPE_BOOL:
            continue  # its type bounds it
        inner = field.message_type
        own = inner is not None and inner.file.package == "hibana.v1" and not is_map(field)
        if own and inner is not None:
            yield from leaves(inner, (*path, (field.name, field.is_repeated)))
        if not own or field.is_repeated:
            yield path, field


def wrongs() -> Iterator[Wrong]:
    for method in METHODS:
        for path, field in leaves(method.input_type):
            for what, suffix, spoil in spoilers(field):
                request = GetMessageClass(method.input_type)()
                place: Any = request
                spelled = ""
                for name, repeated in path:
                    place = getattr(place, name).add() if repeated else getattr(place, name)
                    spelled += f"{name}[0]." if repeated else f"{name}."
                spoil(place)
                yield Wrong(method, f"{spelled}{field.name}{suffix}", what, request)


WRONGS = list(wrongs())


def test_every_request_with_bounded_fields_is_covered() -> None:
    assert {wrong.method.name for wrong in WRONGS} == {method.name for method in METHODS}
    assert len(WRONGS) > 250


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
async def test_every_wrong_field_is_named(caller: Stubs, method: MethodDescriptor) -> None:
    differing = {}
    for wrong in WRONGS:
        if wrong.method is method:
            refusal = await refused(call(caller.channel, method, wrong.request, _bearer(caller)))
            if wrong.request.ByteSize() > 4 * 2**20 + 1024 and "wasm" not in wrong.path:
                expected = ("INVALID_ARGUMENT", "INPUT_TOO_LARGE")
            else:
                expected = ("INVALID_ARGUMENT", "INVALID_REQUEST")
                if not any(path.startswith(wrong.path) for path in refusal.fields):
                    differing[str(wrong)] = (refusal.message, refusal.fields)
            if refusal.told != expected:
                differing[str(wrong)] = (refusal.message, refusal.told)
    assert differing == {}


REQUIRED = {
    "CreateModule": {"header"},
    "GetModule": {"module"},
    "UpdateModule": {"module"},
    "DeleteModule": {"module"},
    "UndeleteModule": {"module"},
    "TransferModule": {"module", "new_owner"},
    "GetModuleVersion": {"version"},
    "ListModuleVersions": {"module"},
    "DeleteModuleVersion": {"version"},
    "PublishModuleVersion": {"version"},
    "DownloadModule": {"version"},
    "TestAccess": {"module"},
    "GetModuleStats": {"module"},
    "Execute": {"module"},
    "Invoke": {"module"},
    "StartExecution": {"module"},
    "WatchExecution": {"name"},
    "CancelExecution": {"name"},
    "GetExecution": {"name"},
    "ReplayExecution": {"name"},
    "UpdateQuota": {"quota"},
    "CreateGrant": {"module"},
    "ListGrants": {"module"},
    "DeleteGrant": {"name"},
    "RevokeApiKey": {"name"},
}
BY_NAME = {method.name: method for method in METHODS}


@pytest.mark.parametrize("name", REQUIRED)
async def test_every_required_field_is_asked_for(caller: Stubs, name: str) -> None:
    method = BY_NAME[name]
    refusal = await refused(call(caller.channel, method, GetMessageClass(method.input_type)(), _bearer(caller)))
    assert refusal.told == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert set(refusal.fields) == REQUIRED[name]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
async def test_bytes_that_are_no_message_are_an_invalid_argument(caller: Stubs, method: MethodDescriptor) -> None:
    refusal = await refused(call(caller.channel, method, b"\xff\xff\xff\xff", _bearer(caller)))
    assert refusal.told == ("INVALID_ARGUMENT", "INVALID_REQUEST")


@pytest.mark.parametrize(
    "text", ["nonsense", "user/UPPER", "modules/1", "other/name", "user/name@", "user/a b", "../x"]
)
async def test_malformed_references_have_a_reason_of_their_own(caller: Stubs, text: str) -> None:
    for name in ("GetModule", "GetModuleVersion", "ListModuleVersions", "Invoke", "Execute", "ListExecutions"):
        method = BY_NAME[name]
        field = "version" if name == "GetModuleVersion" else "module"
        request = GetMessageClass(method.input_type)(**{field: text})
        refusal = await refused(call(caller.channel, method, request, _bearer(caller)))
        assert refusal.told == ("INVALID_ARGUMENT", "REFERENCE_INVALID")
        assert refusal.fields == (field,)


async def test_many_violations_still_fit_into_an_answer(caller: Stubs) -> None:
    method = BY_NAME["CreateModule"]
    request = module_registry_pb2.CreateModuleRequest()
    request.header.module.allowed_users.extend(["\0"] * 1000)
    request.header.module.labels.update({f"BAD {i}": "\0" for i in range(64)})
    refusal = await refused(call(caller.channel, method, request, _bearer(caller)))
    assert refusal.told == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert "and 1129 more" in refusal.message
    assert len(refusal.fields) > 10


def _bearer(stubs: Stubs) -> list[tuple[str, str | bytes]]:
    return [*stubs.metadata]
