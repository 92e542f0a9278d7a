"""What strangers may learn by the clock: answers about what is hidden from them against those about what is not there.

Ratios of medians in one run; 1 tells nothing. Questions alternate, so that both meet the same machine.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import grpc

from hibana.v1 import executor_pb2, module_registry_pb2
from hibana_server.auth.api_keys import ApiKeySource
from hibana_server.domain import key_text
from hibana_server.domain.api_keys import ApiKey, RecentUses
from hibana_server.domain.callers import Role
from hibana_server.domain.errors import Unauthenticated
from hibana_server.domain.ids import now_us
from hibana_server.storage.data_dir import open_data_dir
from hibana_server.storage.migrate import upgrade
from hibana_server.storage.sqlite.modules import SqliteModuleStore
from tests.framework.refusals import ended
from tests.framework.server import Server
from tests.framework.stubs import Stubs

KEYS = 1000
CALLS = 1500
ASKED = 700

Ask = Callable[[str], Awaitable[None]]


async def ratio(ask: Ask, hidden: Callable[[], str], unknown: Callable[[], str], calls: int) -> float:
    """Return the median time of a question about the one by that of the other."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(2 * calls):
        name = (unknown, hidden)[turn % 2]()
        begin = time.perf_counter()
        await ask(name)
        times[turn % 2].append(time.perf_counter() - begin)
    of_unknown, of_hidden = map(statistics.median, times)
    return of_hidden / of_unknown


def wrong_secret(key_id: str) -> str:
    """Spell a key of this id with a secret that it does not have."""
    body = f"hib_{key_id}_{key_text.make()[1][21:64]}"
    return body + key_text._checksum(body)


async def _keys() -> float:
    with TemporaryDirectory() as scratch:
        data_dir = open_data_dir(Path(scratch, "data"))
        upgrade(data_dir)
        store = SqliteModuleStore(data_dir.registry_db)
        made = []
        for _ in range(KEYS):
            key_id, text = key_text.make()
            digest, now = key_text.digest_of(text), now_us()
            await store.api_keys.add(ApiKey(key_id, "alice", Role.USER, "", "alice", now, 2 * now, digest), most=KEYS)
            made.append(key_id)
        source = ApiKeySource(store.api_keys, RecentUses())

        async def ask(token: str) -> None:
            try:
                await source.judge(token)
            except Unauthenticated:
                return
            raise AssertionError("a wrong secret was taken")

        turn = iter(range(10**9))
        found = await ratio(
            ask, lambda: wrong_secret(made[next(turn) % KEYS]), lambda: wrong_secret(key_text.make()[0]), CALLS
        )
        await store.close()
    return found


async def _module(server: Server) -> dict[str, float]:
    stranger: Stubs = server.stubs("stranger")
    # The module of the bench itself; as many letters in both names.
    hidden, unknown = "user/bench/tiny", "user/bench/none"

    def asking(call: Callable[[str], Any]) -> Ask:
        async def ask(name: str) -> None:
            try:
                await ended(call(name))
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.NOT_FOUND:
                    raise
                return
            raise AssertionError("a hidden module was found")

        return ask

    questions: dict[str, Callable[[str], Any]] = {
        "GetModule": lambda m: stranger.registry.GetModule(module_registry_pb2.GetModuleRequest(module=m)),
        "Invoke": lambda m: stranger.executor.Invoke(executor_pb2.InvokeRequest(module=m, function="add")),
        "Session": lambda m: stranger.executor.Session(
            iter([executor_pb2.SessionRequest(open=executor_pb2.SessionOpen(module=m))])
        ),
    }
    figures = {
        f"{name} of a hidden module / of none": await ratio(asking(call), lambda: hidden, lambda: unknown, ASKED)
        for name, call in questions.items()
    }
    await stranger.close()
    return figures


def measure(server: Server) -> dict[str, float]:
    """Measure keys in this process and modules through the server."""
    return {"key with a wrong secret / unknown key": asyncio.run(_keys()), **asyncio.run(_module(server))}
