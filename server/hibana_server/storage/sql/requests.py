"""Answers of requests that their caller gave an id; on the connection of the change itself."""

from __future__ import annotations

import zlib

import msgspec
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hibana_server.domain.requests import Answer, RequestKey, check_same
from hibana_server.storage.sql.tables import requests

_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Answer)


async def recall(connection: AsyncConnection, key: RequestKey | None) -> Answer | None:
    """Return what this request was answered. Raises Invalid(REQUEST_ID_REUSED) for another body."""
    if key is None:
        return None
    query = select(requests.c.digest, requests.c.answer).where(
        requests.c.caller == key.caller, requests.c.request_id == key.request_id
    )
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    check_same(row.digest, key)
    return _decoder.decode(zlib.decompress(row.answer))


async def remember(connection: AsyncConnection, key: RequestKey | None, answer: Answer) -> None:
    """Keep the answer of a request, where it has an id."""
    if key is None:
        return
    row = {
        "caller": key.caller,
        "request_id": key.request_id,
        "digest": key.digest,
        "time": key.time,
        "answer": zlib.compress(_encode(answer), 1),
    }
    await connection.execute(insert(requests), row)


async def forget(connection: AsyncConnection, before: int) -> int:
    """Remove the answers of requests that came before this time and return how many."""
    return (await connection.execute(delete(requests).where(requests.c.time < before))).rowcount
