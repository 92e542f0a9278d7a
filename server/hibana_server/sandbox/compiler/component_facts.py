"""Describe a component from the engine's types of it: functions with their signatures, imports, findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import wasmtime
from wasmtime import component

from hibana_server.domain.modules import Convention, Export, Finding, Import, ModuleFacts, Parameter, Severity
from hibana_server.domain.text import clean
from hibana_server.domain.tiers import Tier
from hibana_server.domain.wit import holds_handles
from hibana_server.sandbox.compiler.component_resources import Resources
from hibana_server.sandbox.compiler.component_types import NotSpelledError, type_of
from hibana_server.sandbox.gate.component import Sums
from hibana_server.sandbox.gate.errors import LimitPassed
from hibana_server.sandbox.gate.judgement import MAX_FINDINGS
from hibana_server.sandbox.gate.limits import GateLimits
from hibana_server.sandbox.gate.typing import IN_SESSION
from hibana_server.sandbox.imports import NotGranted
from hibana_server.sandbox.interfaces import PROGRAM, RUN, judge_interface
from hibana_server.sandbox.shapes.component import PREFIX
from hibana_server.sandbox.shapes.resources import drop_name, typed_name
from hibana_server.sandbox.worker.components.linking import misfit

_KINDS: dict[type[object], str] = {
    component.ComponentInstanceType: "instance",
    component.FuncType: "function",
    component.ModuleType: "module",
    component.ComponentType: "component",
    component.ResourceType: "resource",
}


def describe_component(
    engine: wasmtime.Engine,
    made: component.Component,
    sums: Sums,
    memories: tuple[int, ...],
    tier: Tier,
    limits: GateLimits,
) -> ModuleFacts:
    """Describe a compiled component, and judge it for its tier.

    `memories`: most pages of each memory that one instance has. Raises `gate.errors.LimitPassed`.
    """
    types = made.type
    exports = tuple(_exports(engine, types, limits))
    imports, findings = _imports(engine, types, tier, limits)
    if not findings:
        problem = misfit(engine, made)
        if problem:
            text = f"The component cannot be linked: {clean(problem, 512)}."
            fix = "Build it with a toolchain for WASI 0.2 (wasip2), against interfaces that were released."
            findings = (Finding(Severity.ERROR, "IMPORT_NOT_GRANTED", text, fix),)
    return ModuleFacts(
        convention=Convention.COMPONENT,
        exports=exports,
        imports=imports,
        memory_pages=sums.memory_pages,
        findings=(*findings, *_advice(exports)),
        memories=memories,
    )


def _exports(engine: wasmtime.Engine, types: component.ComponentType, limits: GateLimits) -> Iterator[Export]:
    left, values = limits.exports, limits.signature_values
    resources = Resources(engine, types)
    for name, exported, kind in _functions(engine, types, resources):
        export = _export(name, exported, kind, resources)
        left -= 1
        values -= len(export.parameters) + len(export.results)
        if left < 0:
            raise LimitPassed("Exported functions", limits.exports - left, limits.exports)
        if values < 0:
            found = limits.signature_values - values
            raise LimitPassed("Parameters and results of exported functions", found, limits.signature_values)
        yield export
        if RUN.match(name) and not export.parameters and export.results == ("result",):
            yield Export(PROGRAM, (), (), callable=True, note=f"the program, {name}")


Kind = component.FuncType | str
"""A function's type, or of one that frees objects the name of their resource."""


def _functions(
    engine: wasmtime.Engine, types: component.ComponentType, resources: Resources
) -> Iterator[tuple[str, str, Kind]]:
    """Yield exported functions by the names they are called by and those they are exported under.

    Those of an interface are `INTERFACE#NAME`. What frees the objects of a resource is one besides.
    """
    freed: set[str] = set()
    top = _kinds(types.exports(engine))
    for name, kind in top.items():
        if isinstance(kind, component.FuncType):
            yield typed_name(name, top), name, kind
        elif isinstance(kind, component.ComponentInstanceType):
            inside = _kinds(kind.exports(engine))
            for inner, each in inside.items():
                if isinstance(each, component.FuncType):
                    yield f"{name}#{typed_name(inner, inside)}", f"{name}#{inner}", each
            for called, exported, resource in _freeing(inside, resources, freed):
                yield f"{name}#{called}", f"{name}#{exported}", resource
    yield from _freeing(top, resources, freed)


def _kinds(items: Mapping[str, Any]) -> dict[str, object]:
    """Return the types of what is exported, without what is not the component's own."""
    return {name: item.ty for name, item in items.items() if not name.startswith(PREFIX)}


def _freeing(kinds: dict[str, object], resources: Resources, freed: set[str]) -> Iterator[tuple[str, str, str]]:
    """Yield what frees objects of the resources that are exported here, and were not before."""
    for name, kind in kinds.items():
        resource = resources.find(kind) if isinstance(kind, component.ResourceType) else None
        if resource is not None and resource not in freed:
            freed.add(resource)
            yield typed_name(drop_name(name), kinds), drop_name(name), resource


def _export(name: str, exported: str, kind: Kind, resources: Resources) -> Export:
    shown = clean(name)
    note = "" if shown == name else "its name is too long, or has characters that cannot be shown"
    form = "" if exported == name else exported
    if isinstance(kind, str):
        given = (Parameter("self", f"own<{kind}>"),)
        return Export(shown, given, (), not note, Convention.COMPONENT, note or IN_SESSION, exported)
    parameters: list[Parameter] = []
    results: list[str] = []
    for each, type_ in kind.params:
        try:
            parameters.append(Parameter(clean(each), type_of(type_, resources.name).spell()))
        except NotSpelledError as error:
            parameters.append(Parameter(clean(each), "_"))
            note = note or f"its parameter {clean(each, 64)} {error}"
    result = kind.result
    if result is not None:
        try:
            results.append(type_of(result, resources.name).spell())
        except NotSpelledError as error:
            results.append("_")
            note = note or f"its result {error}"
    types = (*(parameter.type for parameter in parameters), *results)
    return Export(
        name=shown,
        parameters=tuple(parameters),
        results=tuple(results),
        callable=not note,
        convention=Convention.COMPONENT,
        note=note or (IN_SESSION if holds_handles(types) else ""),
        form=form,
    )


def _imports(
    engine: wasmtime.Engine, types: component.ComponentType, tier: Tier, limits: GateLimits
) -> tuple[tuple[Import, ...], tuple[Finding, ...]]:
    shown: list[Import] = []
    findings: list[Finding] = []
    imports = types.imports(engine)
    if len(imports) > limits.imports:
        raise LimitPassed("Imports", len(imports), limits.imports)
    for name, item in imports.items():
        kind = _KINDS.get(type(item.ty), "type")
        verdict = None if _names_types_only(engine, item.ty) else judge_interface(name)
        if kind != "instance" and not isinstance(verdict, NotGranted):
            verdict = NotGranted(f"is a {kind}, not an interface", "Build it with a toolchain for WASI 0.2 (wasip2).")
        granted = not isinstance(verdict, NotGranted)
        shown.append(Import(clean(name), "", kind, "", granted))
        if isinstance(verdict, NotGranted) and len(findings) < MAX_FINDINGS:
            text = f"The import {clean(name)} {verdict.text} (tier {tier.value})."
            findings.append(Finding(Severity.ERROR, "IMPORT_NOT_GRANTED", text, verdict.fix))
    return tuple(shown), tuple(findings)


def _names_types_only(engine: wasmtime.Engine, kind: object) -> bool:
    """Tell whether an interface gives names to types and nothing else: then nobody has to provide it."""
    if not isinstance(kind, component.ComponentInstanceType):
        return False
    named = kind.exports(engine).values()
    return bool(named) and all(type(each.ty) not in _KINDS for each in named)


def _advice(exports: tuple[Export, ...]) -> list[Finding]:
    if exports:
        return []
    text = "The component exports no function, so there is nothing to call."
    return [Finding(Severity.WARNING, "NO_EXPORTS", text, "Export a function, or wasi:cli/run.")]
