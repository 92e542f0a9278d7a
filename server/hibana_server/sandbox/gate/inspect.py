"""Inspect a module: header, limits, description, findings."""

from __future__ import annotations

from hibana_server.domain.modules import Export, Finding, ModuleFacts, Parameter, Severity
from hibana_server.domain.text import clean
from hibana_server.domain.tiers import Tier, TierPolicy
from hibana_server.sandbox.gate.conventions import convention_of
from hibana_server.sandbox.gate.errors import LimitPassed
from hibana_server.sandbox.gate.header import check_header
from hibana_server.sandbox.gate.judgement import judge_imports
from hibana_server.sandbox.gate.limits import GateLimits, limits_of
from hibana_server.sandbox.gate.raw import RawExport, RawModule, wit_name
from hibana_server.sandbox.gate.sections import read_sections
from hibana_server.sandbox.gate.types import PAGE_BYTES
from hibana_server.sandbox.gate.typing import without_types
from hibana_server.sandbox.imports import WASI_MODULE
from hibana_server.sandbox.shapes.wasm_bindgen import looks_unbound

_CALLABLE_TYPES = frozenset({"i32", "i64", "f32", "f64"})


def inspect(data: bytes, tier: Tier, policy: TierPolicy) -> ModuleFacts:
    """Describe a core module and judge it for its tier. Raises `gate.errors.Refused`, and nothing else."""
    limits = limits_of(policy)
    check_size(data, limits)
    check_header(data)
    module = read_sections(data, limits)
    _check_signatures(module, limits)
    imports, findings = judge_imports(module, tier, policy.host_functions)
    memory = module.memories[0] if module.memories else None
    facts = ModuleFacts(
        convention=convention_of(module),
        exports=tuple(map(_export, module.exports)),
        imports=imports,
        memory_pages=memory.minimum if memory else 0,
        max_memory_pages=memory.maximum if memory else None,
        findings=(*findings, *_advice(module, policy)),
    )
    return without_types(facts)


def check_size(data: bytes, limits: GateLimits) -> None:
    """Hold the size of the whole upload against its limit."""
    if len(data) > limits.module_bytes:
        raise LimitPassed("Bytes of the module", len(data), limits.module_bytes)


def _export(export: RawExport) -> Export:
    shown = clean(export.name)
    types = (*export.function.parameters, *export.function.results)
    return Export(
        name=shown,
        parameters=tuple(Parameter(f"p{i}", wit_name(kind)) for i, kind in enumerate(export.function.parameters)),
        results=tuple(map(wit_name, export.function.results)),
        # A name that had to be changed to be shown is not the name a call would need.
        callable=shown == export.name and _CALLABLE_TYPES.issuperset(types),
    )


def _check_signatures(module: RawModule, limits: GateLimits) -> None:
    kinds = [each.function for each in module.exports]
    kinds += [each.function for each in module.imports if each.function]
    values = sum(len(kind.parameters) + len(kind.results) for kind in kinds)
    if values > limits.signature_values:
        raise LimitPassed("Parameters and results of imports and exports together", values, limits.signature_values)


def _advice(module: RawModule, policy: TierPolicy) -> list[Finding]:
    found = []
    if not module.exports:
        found.append(
            Finding(
                Severity.WARNING,
                "NO_EXPORTS",
                "The module exports no function, so there is nothing to call.",
                "Export a function, or build a WASI program, which exports _start.",
            )
        )
    if any(each.module == WASI_MODULE for each in module.imports) and "memory" not in module.other_exports:
        found.append(
            Finding(
                Severity.WARNING,
                "NO_MEMORY_EXPORT",
                "The module imports WASI but exports no memory of the name `memory`, which WASI needs.",
                "Export the memory under the name `memory`.",
            )
        )
    allowed = policy.memory_bytes // PAGE_BYTES
    if any(memory.maximum is not None and memory.maximum > allowed for memory in module.memories):
        found.append(
            Finding(
                Severity.INFO,
                "MEMORY_CAPPED",
                f"The declared maximum memory is beyond the {allowed} pages of this tier; growing stops there.",
                "Nothing to do unless the program needs that much.",
            )
        )
    if any(map(looks_unbound, (export.name for export in module.exports))):
        found.append(
            Finding(
                Severity.WARNING,
                "BINDGEN_NOT_RUN",
                "The module is what cargo built, before wasm-bindgen: its functions are not in their final form.",
                "Run `wasm-bindgen --target web --out-dir pkg FILE` on it, or wasm-pack, and upload pkg/NAME_bg.wasm.",
            )
        )
    if "linking" in module.custom_sections:
        found.append(
            Finding(
                Severity.WARNING,
                "OBJECT_FILE",
                "The module is an object file that was not linked.",
                "Link it with wasm-ld and upload the result.",
            )
        )
    return found
