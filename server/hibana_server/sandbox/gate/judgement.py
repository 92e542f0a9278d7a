"""Judge a module's imports by its tier and tell in findings what would keep it from running."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hibana_server.domain.modules import Finding, Import, Severity
from hibana_server.domain.text import clean
from hibana_server.domain.tiers import Tier
from hibana_server.sandbox.gate.raw import RawImport, RawModule
from hibana_server.sandbox.imports import Granted, NotGranted, is_glue_module, judge_function

MAX_FINDINGS = 32

_NAPI = "napi_"
_PROVIDE = {
    "memory": "Define and export the memory in the module instead of importing it (no --import-memory).",
    "table": "Define the table in the module instead of importing it (no --import-table).",
    "global": "Define the global in the module instead of importing it; link statically.",
}


def judge_imports(
    module: RawModule, tier: Tier, host_functions: frozenset[str]
) -> tuple[tuple[Import, ...], tuple[Finding, ...]]:
    """Return the imports as they are shown, and an ERROR finding for each that is not granted (at most 32)."""
    shown: list[Import] = []
    findings: list[Finding] = []
    refused = 0
    for each in module.imports:
        verdict = _judge(each, host_functions)
        granted = isinstance(verdict, Granted)
        shown.append(Import(clean(each.module), clean(each.name), each.kind, each.text, granted))
        if isinstance(verdict, NotGranted):
            refused += 1
            if refused < MAX_FINDINGS:
                text = f"The import {clean(each.module)}.{clean(each.name)} {verdict.text} (tier {tier.value})."
                findings.append(Finding(Severity.ERROR, "IMPORT_NOT_GRANTED", text, verdict.fix))
    if refused >= MAX_FINDINGS:
        text = f"{refused - MAX_FINDINGS + 1} more imports are not granted; the list of imports marks them."
        findings.append(Finding(Severity.ERROR, "IMPORT_NOT_GRANTED", text, "Remove the imports."))
    kind = unsupported_kind((each.module, each.name) for each in module.imports)
    return tuple(shown), (kind, *findings) if kind else tuple(findings)


def _judge(each: RawImport, host_functions: frozenset[str]) -> Granted | NotGranted:
    if each.function is None:
        return NotGranted(f"is a {each.kind}; only functions are provided", _PROVIDE[each.kind])
    if each.name.startswith(_NAPI) and not is_glue_module(each.module):
        return NotGranted("is part of Node's N-API", "Build for wasm32-wasip1 or with wasm-bindgen.")
    return judge_function(each.module, each.name, each.function, host_functions)


def unsupported_kind(imports: Iterable[tuple[str, str]]) -> Finding | None:
    """Recognise by module and name of its imports what only runs beside JavaScript written for it."""
    for module, name in imports:
        if is_glue_module(module):
            continue
        for kind in _KINDS:
            if kind.needs(module, name):
                text = f"The module needs {kind.what}: it imports {clean(module)}.{clean(name)}."
                return Finding(Severity.ERROR, "KIND_UNSUPPORTED", text, kind.fix)
    return None


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of module that a host without its JavaScript cannot run."""

    what: str
    needs: Callable[[str, str], bool]
    """Tells by module and name whether an import belongs to it."""
    fix: str


_EMSCRIPTEN = ("emscripten_", "_emscripten_", "__syscall_", "invoke_", "__cxa_", "_embind_", "_emval_")
_KINDS = (
    _Kind(
        "Node's N-API",
        lambda _module, name: name.startswith(_NAPI),
        "Use the package's WASI or wasm-bindgen build.",
    ),
    _Kind(
        "Emscripten's minified JavaScript glue",
        lambda module, name: module == "a" and len(name) <= 2,
        "Build with -sSTANDALONE_WASM, or with wasi-sdk.",
    ),
    _Kind(
        "Emscripten's JavaScript glue",
        lambda module, name: module == "env" and name.startswith(_EMSCRIPTEN),
        "Build with -sSTANDALONE_WASM (C++: and without exceptions), or with wasi-sdk.",
    ),
    _Kind(
        "a program that loads it (it is a shared library, a side module)",
        lambda module, name: module == "env" and name in {"__memory_base", "__table_base"},
        "Link it statically into a program or a library of its own (Emscripten: without -sSIDE_MODULE).",
    ),
    _Kind(
        "setjmp and longjmp of its host",
        lambda module, name: module == "env" and name in {"setjmp", "longjmp", "_setjmp"},
        "Build without setjmp and longjmp, or take a build of the library in another language.",
    ),
    _Kind(
        "Go's wasm_exec.js",
        lambda module, _name: module in {"gojs", "go"},
        "Build with GOOS=wasip1 GOARCH=wasm.",
    ),
)
