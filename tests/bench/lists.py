"""Lists and reads with few and with very many modules: the first page, the last, and one module."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import grpc

from hibana.v1 import module_registry_pb2 as pb
from hibana.v1 import module_registry_pb2_grpc
from hibana_server.domain.callers import Role
from hibana_server.domain.ids import uuid7
from hibana_server.domain.modules import Module
from hibana_server.domain.tiers import Tier
from hibana_server.storage.sql.module_rows import module_row
from hibana_server.storage.sqlite.engine import connect
from tests.framework.server import Server

SIZES = (100, 100_000)
PAGE = 50
CALLS = 40


def measure(_: Server) -> dict[str, float]:
    """Return medians in milliseconds, for an admin (who sees all) and a user (who sees every other module)."""
    figures: dict[str, float] = {}
    for count in SIZES:
        with tempfile.TemporaryDirectory() as scratch, Server(Path(scratch, "data")) as server:
            uid = fill(server.data_dir / "registry.db", count)
            for role in (Role.ADMIN, Role.USER):
                reader = Reader(server, role)
                name = f"{count} modules, {role}"
                figures[f"{name}: first page ms"] = median(reader.page)
                last = reader.last_token()
                figures[f"{name}: last page ms"] = median(partial(reader.page, last))
                figures[f"{name}: GetModule ms"] = median(partial(reader.get, uid))
                reader.channel.close()
    return figures


class Reader:
    """A caller who lists modules."""

    def __init__(self, server: Server, role: Role) -> None:
        self.channel = grpc.insecure_channel(server.address)
        self._stub = module_registry_pb2_grpc.ModuleRegistryStub(self.channel)
        self._metadata = (("authorization", f"Bearer {server.token('bench', role)}"),)

    def page(self, token: str = "", size: int = PAGE) -> pb.ListModulesResponse:
        """Read a page."""
        return self._stub.ListModules(pb.ListModulesRequest(page_size=size, page_token=token), metadata=self._metadata)

    def last_token(self) -> str:
        """Return the token of a page near the end: behind all the pages of 500 that are full."""
        token = ""
        while following := self.page(token, 500).next_page_token:
            token = following
        return token

    def get(self, uid: str) -> pb.GetModuleResponse:
        """Read one module."""
        return self._stub.GetModule(pb.GetModuleRequest(module=f"modules/{uid}"), metadata=self._metadata)


def fill(file: Path, count: int) -> str:
    """Put modules into a registry, beside its server; return the uid of a public one."""
    rows = []
    for number in range(count):
        module = Module(
            uid=uuid7(),
            tier=Tier.SYSTEM if number % 100 == 0 else Tier.USER,
            owner=f"owner-{number % 1000}",
            name=f"m{number}",
            description="Does something with images, words or numbers.",
            is_public=number % 2 == 0 and number % 100 != 0,
            labels={"team": "bench"},
            live_version="1",
            create_time=number,
            update_time=number,
        )
        rows.append(module_row(module))
    names = list(rows[0])
    places = ", ".join("?" for _ in names)
    with closing(connect(file, synchronous="NORMAL")) as connection:
        connection.execute("BEGIN IMMEDIATE")
        statement = f"INSERT INTO modules ({', '.join(names)}) VALUES ({places})"
        connection.executemany(statement, [tuple(row.values()) for row in rows])
        connection.execute("COMMIT")
    return str(rows[2]["uid"])


def median(call: Callable[[], object]) -> float:
    """Return the median time of a call, milliseconds."""
    times = []
    for _ in range(CALLS):
        started = time.perf_counter()
        call()
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)
