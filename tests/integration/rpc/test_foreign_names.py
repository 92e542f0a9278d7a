"""Every RPC that takes a name answers about another owner's like about an unknown one, to the byte.

The requests are made from the contract's descriptors: an RPC or a field that is added is covered by itself. A field
of text that is no name of anything has to be listed below, so that nobody forgets to think of it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from hibana.v1 import admin_pb2, module_pb2, module_registry_pb2
from hibana_server.domain import key_text
from hibana_server.rpc.access_rules import ACCESS_RULES, About
from tests.framework.refusals import METHODS, Refusal, call, path, refused
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import create, guest, invoke

NO_NAMES = {
    # Words of the caller's own, filters, and what answers tell.
    *("request_id", "etag", "page_token", "function", "argv", "outputs", "text", "name_prefix", "display_name"),
    *(
        "description",
        "sha256",
        "signatures",
        "allowed_users",
        "uid",
        "module_name",
        "reference",
        "live_version",
        "paths",
        "hosts",
    ),
    *("host_function", "string_value", "code", "message", "creator", "resource", "role", "action"),
    # Subjects are known to whoever names them; whose records and modules one sees is asked of the lists.
    *("owner", "new_owner", "subject", "caller"),
}
NAMES = {"module", "version", "name"}
"""Fields that hold the name of something that belongs to somebody."""
OWN = {"UploadModule", "CreateModule"}
"""They name modules of the caller alone: there is no way to spell another's."""


@dataclass(frozen=True)
class Place:
    """A field that takes a name."""

    method: MethodDescriptor
    way: tuple[str, ...]

    def request(self, name: str) -> Message:
        """Make a request that names something there, and is whole otherwise."""
        request = GetMessageClass(self.method.input_type)()
        for each in places(self.method):
            if each.way != self.way and each.way[0] in {"module", "version", "name"}:
                each.put(request, name)
        self.put(request, name)
        if self.method.name == "TransferModule":
            setattr(request, "new_owner", "anybody")  # noqa: B010 - a field of this request alone
        return request

    def put(self, request: Any, name: str) -> None:
        for part in self.way[:-1]:
            request = getattr(request, part)
        setattr(request, self.way[-1], name)

    def __str__(self) -> str:
        return f"{self.method.name}-{'.'.join(self.way)}"


def texts(descriptor: Descriptor, way: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the way to every field of text in a message and the contract's messages inside of it."""
    for field in descriptor.fields:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            continue
        if field.message_type is not None and field.message_type.file.package == "hibana.v1":
            if field.message_type.name not in {"ListOfValues", "Value"} and not field.is_repeated:
                yield from texts(field.message_type, (*way, field.name))
        elif field.type == FieldDescriptor.TYPE_STRING:
            yield (*way, field.name)


def places(method: MethodDescriptor) -> list[Place]:
    found = [way for way in texts(method.input_type) if way[-1] not in NO_NAMES]
    return [Place(method, way) for way in found if way[0] != "header"]


def test_every_field_of_text_is_a_name_or_known_to_be_none() -> None:
    unknown = {
        f"{method.name}.{'.'.join(way)}"
        for method in METHODS
        for way in texts(method.input_type)
        if way[-1] not in NO_NAMES | NAMES
    }
    assert unknown == set()


# Grants are named after their module and version numbers are no references.
SPECIAL = {"CreateGrant-grant.name", "ListExecutions-version"}
PLACES = [place for method in METHODS for place in places(method) if str(place) not in SPECIAL]


def test_every_rpc_about_somebodys_things_takes_a_name() -> None:
    about = {
        method.name
        for method in METHODS
        if ACCESS_RULES[path(method)].about in {About.MODULE, About.BELONGING} and method.name not in OWN
    }
    named = {place.method.name for place in PLACES}
    by_subject = {"GetQuota", "CreateApiKey"}
    assert about - named <= by_subject


async def answer(stubs: Stubs, place: Place, name: str) -> Refusal:
    metadata: list[tuple[str, str | bytes]] = [*stubs.metadata]
    return await refused(call(stubs.channel, place.method, place.request(name), metadata))


@pytest.fixture(scope="module")
async def theirs(server: Any) -> dict[str, str]:
    """Give true names of somebody else's things, and each with one that nothing has."""
    owner = server.stubs("names-owner")
    stored = await create(owner, "private", guest("client_numbers"))
    run = (await invoke(owner, "user/private", "nothing")).execution
    key = (await owner.admin.CreateApiKey(admin_pb2.CreateApiKeyRequest())).api_key.name
    await owner.close()
    return {
        stored.module.name: f"modules/{uuid.uuid4()}",
        stored.version.name: f"modules/{uuid.uuid4()}/versions/1.0.0",
        "user/names-owner/private": "user/names-owner/nothing",
        "user/names-owner/private@1.0.0": "user/names-owner/nothing@1.0.0",
        run: f"executions/{uuid.uuid4()}",
        f"{stored.module.name}/grants/1": f"modules/{uuid.uuid4()}/grants/1",
        key: f"apiKeys/{key_text.make()[0]}",
    }


def _spelled(text: str, *names: str) -> str:
    """Leave names out of a text, so that texts that repeat what was asked compare."""
    for name in names:
        text = text.replace(name, "NAME")
    return text


@pytest.mark.parametrize("place", PLACES, ids=str)
async def test_names_of_others_answer_like_unknown_ones(caller: Stubs, theirs: dict[str, str], place: Place) -> None:
    told = set()
    for true, unknown in theirs.items():
        one, other = await answer(caller, place, true), await answer(caller, place, unknown)
        assert one.told == other.told
        assert _spelled(one.message, true) == _spelled(other.message, unknown)
        assert one.raw == other.raw
        assert true not in one.message
        assert one.code.name in {"NOT_FOUND", "INVALID_ARGUMENT", "PERMISSION_DENIED", "UNIMPLEMENTED"}, one
        told.add(one.code.name)
    rule = ACCESS_RULES[path(place.method)]
    if rule.about in {About.MODULE, About.BELONGING} and "UNIMPLEMENTED" not in told and place.way[-1] != "version":
        assert "NOT_FOUND" in told, told


async def test_another_owners_name_cannot_be_uploaded_to(caller: Stubs, connect: Any, subject: str) -> None:
    owner = connect(f"{subject}-owner")
    before = (await create(owner, "mine", guest("client_numbers"))).module
    made = (await create(caller, "mine", guest("client_exit"), "2")).module
    assert (made.owner, made.uid != before.uid) == (caller.subject, True)
    after = await owner.registry.GetModule(module_registry_pb2.GetModuleRequest(module=before.name))
    assert after.module == before


async def test_forged_fields_of_an_upload_change_nothing(caller: Stubs, subject: str) -> None:
    """What an answer tells about a module may be sent back: owner, uid and tier in it are not taken."""
    stored = (await create(caller, "mine", guest("client_numbers"))).module
    forged = module_pb2.Module()
    forged.CopyFrom(stored)
    forged.owner, forged.uid, forged.tier = "root", str(uuid.uuid4()), module_pb2.TIER_SYSTEM
    forged.description = "forged"
    changed = (await caller.registry.UpdateModule(module_registry_pb2.UpdateModuleRequest(module=forged))).module
    assert (changed.owner, changed.uid, changed.tier) == (subject, stored.uid, module_pb2.TIER_USER)
