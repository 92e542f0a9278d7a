"""Two import-linter contracts, used by pyproject.toml.

`direct` bounds what some modules may import; `guarded` bounds who may import some modules. Both look at direct imports
and name every import that breaks them.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


def within(module: str, packages: Iterable[str]) -> bool:
    """Tell whether a module is one of these packages or lies in one."""
    return any(module == package or module.startswith(f"{package}.") for package in packages)


class _NamedImportsContract(Contract):
    """Keep when no import breaks the rule; otherwise print one line for each that does."""

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: FBT001 (the base class asks so)
        """Collect what breaks the rule."""
        problems = list(self._problems(graph))
        output.verbose_print(verbose, f"{len(problems)} imports break the contract")
        return ContractCheck(kept=not problems, metadata={"problems": problems})

    @abstractmethod
    def _problems(self, graph: ImportGraph) -> Iterator[str]:
        """Yield what breaks the rule, a line each."""

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print one line for each import that breaks the contract."""
        for problem in check.metadata["problems"]:
            output.print_error(f"- {problem}", bold=False)
        output.new_line()


class DirectContract(_NamedImportsContract):
    """Let some modules import the standard library and what is listed, nothing else.

    Options, each a list of names that stand for their submodules too: `modules`, the modules bound (one that does not
    exist breaks the contract); `allowed`, what they may import.
    """

    type_name = "direct"

    modules: Any = fields.ListField(subfield=fields.StringField())
    allowed: Any = fields.ListField(subfield=fields.StringField())

    def _problems(self, graph: ImportGraph) -> Iterator[str]:
        yield from (f"{name} does not exist" for name in self.modules if name not in graph.modules)
        for importer in sorted(module for module in graph.modules if within(module, self.modules)):
            for imported in sorted(graph.find_modules_directly_imported_by(importer)):
                if not within(imported, sys.stdlib_module_names) and not within(imported, self.allowed):
                    yield f"{importer} imports {imported}"


class GuardedContract(_NamedImportsContract):
    """Let nobody but the listed importers import some modules.

    Options, each a list of names that stand for their submodules too: `modules`, guarded wherever they turn up, in the
    project or out (one that nobody imports is fine); `importers`, who may import them besides themselves.
    """

    type_name = "guarded"

    modules: Any = fields.ListField(subfield=fields.StringField())
    importers: Any = fields.ListField(subfield=fields.StringField())

    def _problems(self, graph: ImportGraph) -> Iterator[str]:
        for imported in sorted(module for module in graph.modules if within(module, self.modules)):
            for importer in sorted(graph.find_modules_that_directly_import(imported)):
                if not within(importer, [*self.modules, *self.importers]):
                    yield f"{importer} imports {imported}"
