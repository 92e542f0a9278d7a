"""Tables with a line for every RPC: what lacks one cannot be served, as the server is not built then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from hibana.v1 import admin_pb2, executor_pb2, module_registry_pb2

_FILES = (module_registry_pb2.DESCRIPTOR, executor_pb2.DESCRIPTOR, admin_pb2.DESCRIPTOR)
_Line = TypeVar("_Line")


def by_path(table: Mapping[str, Mapping[str, _Line]]) -> dict[str, _Line]:
    """Return the line of every method, of service and method, by its path, `/hibana.v1.Executor/Invoke`.

    Raises KeyError for a method that has none.
    """
    return {
        f"/{service.full_name}/{method.name}": table[service.full_name][method.name]
        for file in _FILES
        for service in file.services_by_name.values()
        for method in service.methods
    }
