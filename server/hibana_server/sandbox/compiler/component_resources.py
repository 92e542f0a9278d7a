"""The resources that a component exports, by the names that types spell them with: `own<counter>`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import wasmtime
from wasmtime import component

from hibana_server.sandbox.compiler.component_types import NotSpelledError
from hibana_server.sandbox.shapes.component import PREFIX

MAX_RESOURCES = 256
"""Resources of a component that have names here: each is compared with the others."""


class Resources:
    """Names of resources. The same one may be exported in several places, and has one name all the same."""

    def __init__(self, engine: wasmtime.Engine, types: component.ComponentType) -> None:
        """Find them."""
        self._named: list[tuple[component.ResourceType, str]] = []
        imported = [kind for _, _, kind in islice(_resources(engine, types.imports(engine)), MAX_RESOURCES)]
        found: list[tuple[str, str, component.ResourceType]] = []
        for interface, name, kind in _resources(engine, types.exports(engine)):
            if len(found) == MAX_RESOURCES:
                break
            if not any(kind == each for _, _, each in found) and kind not in imported:
                found.append((interface, name, kind))
        plain = Counter(name for _, name, _ in found)
        used: set[str] = set()
        for interface, name, kind in found:
            # `acme:shapes/solids@1.0.0` and `acme:shapes/planes@1.0.0` may both have a `corner`.
            short = interface.partition("@")[0].rpartition("/")[2]
            wanted = name if plain[name] == 1 or not short else f"{short}-{name}"
            chosen, number = wanted, 1
            while chosen in used:
                number += 1
                chosen = f"{wanted}-{number}"
            used.add(chosen)
            self._named.append((kind, chosen))

    def name(self, kind: component.ResourceType) -> str:
        """Return the name of a resource. Raises NotSpelledError for one that the component does not export."""
        found = self.find(kind)
        if found is None:
            raise NotSpelledError("is a handle of a resource that is not the component's own")
        return found

    def find(self, kind: component.ResourceType) -> str | None:
        """Return the name of a resource; None for one that is not the component's own."""
        for each, name in self._named:
            if each == kind:
                return name
        return None


def _resources(engine: wasmtime.Engine, items: Mapping[str, Any]) -> Iterator[tuple[str, str, component.ResourceType]]:
    """Yield resources with the interface that they are in, which may be none, and their names there."""
    for name, item in items.items():
        if name.startswith(PREFIX):
            continue  # not the component's own
        kind = item.ty
        if isinstance(kind, component.ResourceType):
            yield "", name, kind
        elif isinstance(kind, component.ComponentInstanceType):
            for inner, each in kind.exports(engine).items():
                found = each.ty
                if isinstance(found, component.ResourceType):
                    yield name, inner, found
