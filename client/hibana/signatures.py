"""Result types of exported functions, kept per version: a version's bytes never change."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from hibana.connection import Connection
from hibana.errors import HibanaError
from hibana.v1 import module_registry_pb2
from hibana.values import Json, from_json

MAX_VERSIONS = 256


class Signatures:
    """Reads results in JSON form back with their types, which costs one GetModuleVersion per version."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: OrderedDict[str, dict[str, tuple[str, ...]]] = OrderedDict()

    async def read(self, version: str, function: str, values: tuple[Json, ...]) -> tuple[Any, ...]:
        """Return results as Python values. Where the signature cannot be had, the JSON form stays."""
        if not values:
            return ()
        try:
            types = (await self._results(version)).get(function, ())
        except HibanaError:
            # The run has happened and its result is here: worth more than an exact type.
            types = ()
        if len(types) != len(values):
            return values
        return tuple(from_json(value, wit_type) for value, wit_type in zip(values, types, strict=True))

    async def _results(self, version: str) -> dict[str, tuple[str, ...]]:
        known = self._known.get(version)
        if known is None:
            request = module_registry_pb2.GetModuleVersionRequest(version=version)
            method = self._connection.registry.GetModuleVersion
            answer = await self._connection.unary(method, request)
            known = {export.name: tuple(export.results) for export in answer.version.exports}
            self._known[version] = known
            while len(self._known) > MAX_VERSIONS:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(version)
        return known
