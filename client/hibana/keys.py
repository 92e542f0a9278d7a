"""What a client does with API keys. Using one needs nothing of this: it goes wherever a token goes."""

from __future__ import annotations

from hibana.connection import Connection, Retry
from hibana.convert import duration, time
from hibana.errors import ConfigError
from hibana.key_types import ApiKey, NewApiKey
from hibana.listing import Listing, Page, next_page
from hibana.v1 import admin_pb2

_COLLECTION = "apiKeys/"
_PREFIX = "hib_"


class KeyCalls:
    """The part of the client that speaks of API keys."""

    _connection: Connection

    async def create_api_key(
        self,
        display_name: str = "",
        *,
        ttl: float | None = None,
        role: str = "",
        subject: str = "",
        request_id: str = "",
        timeout: float | None = None,
    ) -> NewApiKey:
        """Make an API key for oneself, or for another subject as an admin.

        `ttl` in seconds; the service's default, 90 days, without it. `role`: user, service or admin, none above one's
        own; the lowest of use without it. The answer holds the key's text, once. When the connection breaks before it
        comes, the call is not made again, since a copy could not be told the text: look into `api_keys()`, revoke what
        was made and make another.
        """
        request = admin_pb2.CreateApiKeyRequest(
            display_name=display_name,
            ttl=None if ttl is None else duration(ttl),
            role=role,
            subject=subject,
            request_id=request_id,
        )
        connection = self._connection
        answer = await connection.unary(connection.admin.CreateApiKey, request, timeout=timeout, retry=Retry.NOT_RUN)
        return NewApiKey(_key(answer.api_key), answer.secret)

    def api_keys(
        self, subject: str = "", *, all_subjects: bool = False, page_size: int = 0, timeout: float | None = None
    ) -> Listing[ApiKey]:
        """List one's own API keys, newest first, also those that ended lately; others' or all as an admin."""
        request = admin_pb2.ListApiKeysRequest(subject=subject, all_subjects=all_subjects, page_size=page_size)
        connection = self._connection

        async def fetch(token: str) -> Page[ApiKey]:
            asked = next_page(request, token)
            answer = await connection.unary(connection.admin.ListApiKeys, asked, timeout=timeout)
            return Page(tuple(map(_key, answer.api_keys)), answer.next_page_token, answer.total_size)

        return Listing(fetch)

    async def revoke_api_key(self, key: str, *, timeout: float | None = None) -> ApiKey:
        """End an API key: `apiKeys/ID`, the id alone, or the key itself, of which only the id is sent.

        Once this returns the service takes it for no new call. Revoking twice changes nothing.
        """
        request = admin_pb2.RevokeApiKeyRequest(name=key_name(key))
        connection = self._connection
        answer = await connection.unary(connection.admin.RevokeApiKey, request, timeout=timeout)
        return _key(answer.api_key)


def key_name(key: str) -> str:
    """Return the name of a key that was given by name, by id, or whole. Raises ConfigError."""
    key = key.strip()
    if key.startswith(_PREFIX):
        # The secret stays here: it has no business in a request that ends it.
        key = key.removeprefix(_PREFIX).partition("_")[0]
    key = key.removeprefix(_COLLECTION)
    if not key.isascii() or not key.isalnum():
        raise ConfigError(
            "that is no API key", next_step="name it by apiKeys/ID or its ID, as `hibana keys list` shows"
        )
    return _COLLECTION + key


def _key(m: admin_pb2.ApiKey) -> ApiKey:
    return ApiKey(
        name=m.name,
        subject=m.subject,
        display_name=m.display_name,
        role=m.role,
        creator=m.creator,
        create_time=time(m.create_time) if m.HasField("create_time") else None,
        expire_time=time(m.expire_time) if m.HasField("expire_time") else None,
        last_used_time=time(m.last_used_time) if m.HasField("last_used_time") else None,
        revoke_time=time(m.revoke_time) if m.HasField("revoke_time") else None,
    )
