"""Every RPC that takes a name answers about another owner's like about an unknown one, to the byte.

The requests are made from the contract's descriptors: an RPC or a field that is added is covered by itself.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hibana.v1 import module_pb2, module_registry_pb2
from hibana_server.rpc.access_rules import ACCESS_RULES, About
from tests.framework.names import NAMES, NO_NAMES, PLACES, Place, texts
from tests.framework.refusals import METHODS, Refusal, call, path, refused
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import create, guest
from tests.integration.rpc.theirs import private_things

OWN = {"UploadModule", "CreateModule"}
"""They name modules of the caller alone: there is no way to spell another's."""


def test_every_field_of_text_is_a_name_or_known_to_be_none() -> None:
    unknown = {
        f"{method.name}.{'.'.join(way)}"
        for method in METHODS
        for way in texts(method.input_type)
        if way[-1] not in NO_NAMES | NAMES
    }
    assert unknown == set()


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
async def theirs(server: Any) -> AsyncIterator[dict[str, str]]:
    """Give true names of somebody else's things, and each with one that nothing has."""
    owner = server.stubs("names-owner")
    async with private_things(owner) as names:
        yield names
    await owner.close()


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
    named = {About.MODULE, About.BELONGING, About.BELONGINGS}
    if rule.about in named and "UNIMPLEMENTED" not in told and place.way[-1] != "version":
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
