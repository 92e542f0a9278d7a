"""API keys with the Python client."""

from __future__ import annotations

import pytest

import hibana
from tests.framework.server import Server


async def test_a_key_is_made_used_listed_and_revoked(server: Server, client: hibana.Client, subject: str) -> None:
    made = await client.create_api_key("ci", ttl=3600)
    assert (made.key.subject, made.key.display_name, made.key.role) == (subject, "ci", "user")
    assert made.key.create_time is not None
    assert made.key.expire_time is not None
    assert (made.key.expire_time - made.key.create_time).total_seconds() == 3600
    assert made.secret not in repr(made)
    async with hibana.Client(server.address, token=made.secret) as machine:
        assert (await machine.quota()).quota.subject == subject
        (listed,) = [key async for key in client.api_keys()]
        assert listed.last_used_time is not None
        with pytest.raises(hibana.PermissionDenied):
            await machine.create_api_key()
        revoked = await client.revoke_api_key(made.secret)
        assert revoked.revoke_time is not None
        with pytest.raises(hibana.Unauthenticated) as caught:
            await machine.modules().page()
    assert caught.value.reason == "TOKEN_REVOKED"
    assert made.secret not in str(caught.value)
    assert (await client.revoke_api_key(made.key.name)).revoke_time == revoked.revoke_time


async def test_a_copy_of_a_request_gets_no_secret(client: hibana.Client) -> None:
    made = await client.create_api_key(request_id="r1")
    again = await client.create_api_key(request_id="r1")
    assert (again.key, again.secret) == (made.key, "")


@pytest.mark.parametrize("key", ["", " ", "hib_", "apiKeys/", "modules/x", "a b", "ä"])
async def test_what_names_no_key_is_not_sent(client: hibana.Client, key: str) -> None:
    with pytest.raises(hibana.ConfigError):
        await client.revoke_api_key(key)


def test_keys_without_an_event_loop(server: Server, subject: str) -> None:
    with hibana.SyncClient(server.address, token=server.token(subject)) as client:
        made = client.create_api_key()
        assert [key.name for key in client.api_keys()] == [made.key.name]
        client.revoke_api_key(made.key.name)
