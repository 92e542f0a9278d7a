"""Callers with API keys that are none, belong to somebody else, or were taken back."""

from __future__ import annotations

import grpc

from hibana.v1 import admin_pb2, module_registry_pb2
from hibana_server.domain import key_text
from tests.framework.refusals import Refusal
from tests.framework.stubs import Stubs
from tests.hostile.cases import Case, theme
from tests.hostile.house import House

LIST = module_registry_pb2.ListModulesRequest()


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a call with a key."""
    return (("authorization", f"Bearer {key}"),)


async def make(house: House) -> admin_pb2.CreateApiKeyResponse:
    """Make a key of mallory's."""
    return await house.mallory.admin.CreateApiKey(admin_pb2.CreateApiKeyRequest())


async def refused(house: House, nobody: Stubs, key: str) -> Refusal:
    """Use a key that opens nothing; it is not repeated in the answer."""
    refusal = await house.refusal(nobody.registry.ListModules(LIST, metadata=bearer(key)))
    assert refusal.code.name == "UNAUTHENTICATED", (key, refusal)
    assert key.strip() not in refusal.message
    return refusal


def sealed(body: str) -> str:
    """Put the checksum behind the text of a key that somebody made up."""
    return body + key_text._checksum(body)


async def forged(house: House) -> None:
    """Change a good key in each of its parts, with and without a checksum that fits."""
    nobody, made = house.nobody(), await make(house)
    good = made.secret
    body, key_id = good[:-6], good[4:20]
    other_id = ("A" if key_id[0] != "A" else "B") + key_id[1:]
    secret = body[21:]
    other_secret = ("A" if secret[0] != "A" else "B") + secret[1:]
    texts = [
        body,
        good + "0",
        good[:-1] + ("0" if good[-1] != "0" else "1"),
        good.upper(),
        good.lower(),
        good.replace("hib_", "hiB_"),
        f"hib_{key_id}_{other_secret}{good[-6:]}",
        sealed(f"hib_{key_id}_{other_secret}"),
        sealed(f"hib_{other_id}_{secret}"),
        sealed(f"hib_{key_id}_{'0' * 43}"),
        "hib_" + "_" * 66,
        "hib_%s" % ("%00" * 22),
        f"hib_{key_id[:-1]}%_{secret}{good[-6:]}",
        f"hib_{key_id}' OR 1=1--_{secret}",
        key_text.make()[1],
        good * 50,
    ]
    for text in texts:
        await refused(house, nobody, text)
    assert await nobody.registry.ListModules(LIST, metadata=bearer(good)) is not None


async def unknown_and_wrong_alike(house: House) -> None:
    """Ask with ids that nobody has and with wrong secrets of one that exists: answered alike, word for word."""
    nobody, key_id = house.nobody(), (await make(house)).secret[4:20]
    told = set()
    for _ in range(house.times(10, 400)):
        unknown = key_text.make()[1]
        for key in (unknown, sealed(f"hib_{key_id}_{unknown[21:-6]}")):
            refusal = await refused(house, nobody, key)
            told.add((refusal.told, refusal.message))
    assert len(told) == 1, told


async def revoked_under_load(house: House) -> None:
    """Take a key back while calls use it: none that begins after the answer is let in, and others are not disturbed."""
    for _ in range(house.times(2, 5)):
        nobody, made = house.nobody(), await make(house)
        is_revoked = False

        async def once(
            number: int, nobody: Stubs = nobody, key: str = made.secret, name: str = made.api_key.name
        ) -> None:
            nonlocal is_revoked
            if number == 20:
                await house.mallory.admin.RevokeApiKey(admin_pb2.RevokeApiKeyRequest(name=name))
                is_revoked = True
                return
            began_after = is_revoked
            try:
                await nobody.registry.ListModules(LIST, metadata=bearer(key))
                was_let_in = True
            except grpc.aio.AioRpcError as error:
                assert error.code().name == "UNAUTHENTICATED", error  # noqa: PT017 - the other ways are judged below
                was_let_in = False
            assert not (began_after and was_let_in)

        await house.repeat(house.times(60, 200), once)
        refusal = await refused(house, nobody, made.secret)
        assert refusal.reason == "TOKEN_REVOKED"
        assert (await house.add()).outcome


CASES = theme(
    "keys",
    Case("forged", forged),
    Case(
        "unknown ids and wrong secrets alike", unknown_and_wrong_alike, 4, settings={"LIMITS_FAILURES_PER_MINUTE": "0"}
    ),
    Case("revoked under load", revoked_under_load, 10, settings={"LIMITS_FAILURES_PER_MINUTE": "0"}),
)
