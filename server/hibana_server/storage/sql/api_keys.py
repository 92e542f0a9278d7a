"""API keys in a SQL database."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from sqlalchemy import RowMapping, delete, func, insert, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hibana_server.domain.api_keys import ENDED_FOR_EACH, ApiKey, KeyPage
from hibana_server.domain.audit_changes import key_state
from hibana_server.domain.callers import Role
from hibana_server.domain.errors import QuotaViolation
from hibana_server.domain.quotas import STORAGE_RETRY, exceeded
from hibana_server.domain.requests import RequestKey, check_same
from hibana_server.storage.cursors import decode_cursor, encode_cursor
from hibana_server.storage.sql.database import uninterrupted
from hibana_server.storage.sql.registry_store import RegistryStore
from hibana_server.storage.sql.tables import api_keys

_TOGETHER = 500
"""Ids in one statement."""
_REMOVED = 100
"""Keys that one transaction removes: each leaves an entry for the audit log."""


class SqlApiKeyStore(RegistryStore):
    """`domain.api_keys.ApiKeyStore` over a `Database`."""

    async def find(self, ids: Collection[str]) -> dict[str, ApiKey]:
        """Return those of these keys that are there, by id. One that is not there takes the steps of one that is."""
        found: dict[str, ApiKey] = {}
        async with self._database.reading() as connection:
            for some in _batches(ids):
                query = select(api_keys).where(api_keys.c.id.in_(some))
                rows = {row["id"]: row for row in (await connection.execute(query)).mappings()}
                keys = {key_id: _key(rows.get(key_id, _NOBODYS)) for key_id in some}
                found |= {key_id: keys[key_id] for key_id in rows}
        return found

    async def add(self, key: ApiKey, *, most: int, request: RequestKey | None = None) -> tuple[ApiKey, bool]:
        """Store a new key and return it with True; where the request made one before, return that with False."""
        return await uninterrupted(self._add(key, most, request))

    async def _add(self, key: ApiKey, most: int, request: RequestKey | None) -> tuple[ApiKey, bool]:
        async with self._database.writing() as connection:
            if request is not None and (made := await _made_by(connection, request)) is not None:
                return made, False
            await _check_room(connection, key, most)
            asked = {} if request is None else {"request_id": request.request_id, "request_digest": request.digest}
            await connection.execute(insert(api_keys).values(**_row(key), **asked))
            await self._notes.note(connection, f"apiKeys/{key.id}", None, key_state(key))
            return key, True

    async def change(self, key_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey | None:
        """Replace a key by what `change` makes of it, in one transaction, and return it; None where there is none."""
        return await uninterrupted(self._change(key_id, change))

    async def _change(self, key_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey | None:
        async with self._database.writing() as connection:
            own = api_keys.c.id == key_id
            row = (await connection.execute(select(api_keys).where(own))).mappings().one_or_none()
            if row is None:
                return None
            before = _key(row)
            after = change(before)
            if after != before:
                await connection.execute(update(api_keys).where(own).values(_row(after)))
                await self._notes.note(connection, f"apiKeys/{key_id}", key_state(before), key_state(after))
            return after

    async def list_keys(self, subject: str | None, *, limit: int, cursor: str = "") -> KeyPage:
        """Return a page of a subject's keys, of all subjects for None, newest first."""
        own = true() if subject is None else api_keys.c.subject == subject
        query = select(api_keys).where(own).order_by(api_keys.c.create_time.desc(), api_keys.c.id.desc())
        if cursor:
            time, last = decode_cursor(cursor, "api_keys", int, str)
            earlier = api_keys.c.create_time < time
            query = query.where(or_(earlier, (api_keys.c.create_time == time) & (api_keys.c.id < last)))
        async with self._database.reading() as connection:
            rows = (await connection.execute(query.limit(limit + 1))).mappings().all()
            total = (await connection.execute(select(func.count()).select_from(api_keys).where(own))).scalar_one()
        keys = tuple(map(_key, rows[:limit]))
        more = len(rows) > limit
        return KeyPage(keys, encode_cursor("api_keys", keys[-1].create_time, keys[-1].id) if more else "", total)

    async def remove(self, before: int) -> list[str]:
        """Remove some keys that ended before this time for good and return their ids."""
        query = select(api_keys.c.id).where(api_keys.c.end_time < before).limit(_REMOVED)
        async with self._database.reading() as connection:
            ids = list((await connection.execute(query)).scalars())
        if ids:  # nothing is written for nothing: every commit costs all processes their caches
            await uninterrupted(self._remove(ids))
        return ids

    async def _remove(self, ids: list[str]) -> None:
        async with self._database.writing() as connection:
            own = api_keys.c.id.in_(ids)
            for row in (await connection.execute(select(api_keys).where(own))).mappings().all():
                await self._notes.note(
                    connection, f"apiKeys/{row['id']}", key_state(_key(row)), None, action="key.remove"
                )
            await connection.execute(delete(api_keys).where(own))


async def _made_by(connection: AsyncConnection, request: RequestKey) -> ApiKey | None:
    query = select(api_keys).where(api_keys.c.creator == request.caller, api_keys.c.request_id == request.request_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        return None
    check_same(row["request_digest"], request)
    return _key(row)


async def _check_room(connection: AsyncConnection, key: ApiKey, most: int) -> None:
    async def count(*where: Any) -> int:
        query = select(func.count()).select_from(api_keys).where(api_keys.c.subject == key.subject, *where)
        return (await connection.execute(query)).scalar_one()

    held = await count(api_keys.c.end_time > key.create_time)
    if held >= most:
        violation = QuotaViolation(key.subject, "max_api_keys", most, held + 1)
        raise exceeded([violation], "revoke one that is not needed any more", retry_after=STORAGE_RETRY)
    ended, most_ended = await count() - held, most * ENDED_FOR_EACH
    if ended >= most_ended:
        violation = QuotaViolation(key.subject, "max_ended_api_keys", most_ended, ended + 1)
        raise exceeded([violation], "wait until ended keys are removed", retry_after=STORAGE_RETRY)


def _batches(ids: Collection[str]) -> list[list[str]]:
    ordered = list(ids)
    return [ordered[start : start + _TOGETHER] for start in range(0, len(ordered), _TOGETHER)]


_FIELDS = ("id", "subject", "role", "display_name", "creator", "create_time", "expire_time", "digest", "revoke_time")


def _row(key: ApiKey) -> dict[str, Any]:
    return {**{name: getattr(key, name) for name in _FIELDS}, "end_time": key.end_time}


def _key(row: RowMapping | Mapping[str, Any]) -> ApiKey:
    return ApiKey(**{**{name: row[name] for name in _FIELDS}, "role": Role(row["role"])})


_NOBODYS = _row(ApiKey("", "", Role.USER, "", "", 0, 0, bytes(32)))
"""Stands for a key that is not there: the time of an answer must not tell which it was."""
