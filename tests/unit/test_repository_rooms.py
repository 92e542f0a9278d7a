"""The import contracts that the rooms rest on report what they should."""

from __future__ import annotations

import pytest
from grimp import ImportGraph

from tools.import_contracts import DirectContract, GuardedContract

GUARD = {"modules": ["house.worker", "wasmtime"], "importers": ["house.compiler"]}
PLAIN = {"modules": ["house.domain"], "allowed": ["house.domain", "msgspec"]}


def problems(kind: type[DirectContract | GuardedContract], options: dict[str, list[str]], *imports: str) -> list[str]:
    """Return what a contract finds in a house with these imports, each written "importer imported"."""
    graph = ImportGraph()
    graph.add_module("house.domain")
    for line in imports:
        importer, imported = line.split()
        graph.add_import(importer=importer, imported=imported)
    contract = kind(name="rule", session_options={}, contract_options=dict(options))
    check = contract.check(graph, verbose=False)
    found: list[str] = check.metadata["problems"]
    assert check.kept == (not found)
    return found


@pytest.mark.parametrize("imported", ["typing", "collections.abc", "house.domain.errors", "msgspec", "msgspec.json"])
def test_a_bound_module_imports_what_is_allowed(imported: str) -> None:
    assert problems(DirectContract, PLAIN, f"house.domain.values {imported}") == []


@pytest.mark.parametrize("imported", ["grpc", "house.rpc", "house.domains", "msgspecs"])
def test_a_bound_module_imports_nothing_else(imported: str) -> None:
    found = problems(DirectContract, PLAIN, f"house.domain.values {imported}")
    assert found == [f"house.domain.values imports {imported}"]


def test_other_modules_are_left_alone() -> None:
    assert problems(DirectContract, PLAIN, "house.rpc grpc") == []


def test_a_bound_module_that_is_gone_breaks_the_contract() -> None:
    assert problems(DirectContract, {**PLAIN, "modules": ["house.gate"]}) == ["house.gate does not exist"]


@pytest.mark.parametrize("line", ["house.compiler.child house.worker.engine", "house.worker.x wasmtime", "a.b c.d"])
def test_guarded_modules_let_their_importers_in(line: str) -> None:
    assert problems(GuardedContract, GUARD, line) == []


@pytest.mark.parametrize("line", ["house.pool house.worker.engine", "house.compilers wasmtime._ffi"])
def test_guarded_modules_keep_everyone_else_out(line: str) -> None:
    assert problems(GuardedContract, GUARD, line) == [line.replace(" ", " imports ")]
