"""Give a module's functions the types that came with its upload."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from hibana_server.domain.modules import Convention, Export, Finding, ModuleFacts, Parameter, Severity
from hibana_server.domain.text import clean
from hibana_server.domain.wit import Type, holds_handles
from hibana_server.sandbox.gate.declarations import looks_like_declarations, read_declarations
from hibana_server.sandbox.gate.judgement import MAX_FINDINGS
from hibana_server.sandbox.gate.signatures import Declared, SignaturesWrongError, Slot, read_signatures
from hibana_server.sandbox.imports import FunctionType
from hibana_server.sandbox.shapes import assemblyscript, buffer, plain, wasm_bindgen
from hibana_server.sandbox.shapes.assemblyscript import FORMS

REASON = "SIGNATURES_INVALID"
_CORE = {"s32": "i32", "s64": "i64"}
_FIX = "Correct the types, or leave the function out of them; `hibana inspect` shows what the module exports."
_OBJECT = "is an object of JavaScript, which there is none of here"
IN_SESSION = "it takes or returns objects, which live in a session: call it in one"
_CLASS = re.compile(r"[A-Za-z_]\w{0,127}", re.ASCII)


class WrongTypesError(Exception):
    """The types do not fit the module."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        super().__init__()
        self.findings = findings


def with_types(facts: ModuleFacts, text: str) -> ModuleFacts:
    """Return the description with the functions typed as `text` says, a `.d.ts` or a list of signatures.

    Raises WrongTypesError.
    """
    classes: set[str] = set()
    members: list[Declared] = []
    try:
        if looks_like_declarations(text):
            declarations = read_declarations(text)
            declared, members = declarations.functions, declarations.members
            classes = set(filter(_CLASS.fullmatch, declarations.classes))
        else:
            declared = read_signatures(text)
    except SignaturesWrongError as error:
        raise WrongTypesError((_wrong(f"The types are not understood: {error}."),)) from None
    exports = {export.name: export for export in facts.exports}
    functions = frozenset(exports)
    getters = {export.name: _core_type(export) for export in facts.exports}
    if wasm_bindgen.malloc_of((export.name, _core_type(export)) for export in facts.exports):
        functions |= {wasm_bindgen.MALLOC}
    wrong: list[Finding] = []
    if facts.convention is Convention.WASM_BINDGEN:
        declared = [_on_objects(each, classes) for each in declared]
        declared += [_on_objects(each, classes) for each in members if each.name in exports]
        declared = [_without_objects(each, exports.get(each.name)) for each in declared]
    for each in declared:
        try:
            found = exports.get(each.name)
            if _uses_buffer(each):
                exports[each.name] = _through_buffer(each, found, getters)
            else:
                exports[each.name] = _typed(each, found, facts.convention, functions)
        except ValueError as error:
            wrong.append(_wrong(f"Line {each.line} of the types: {clean(each.name)} {error}."))
    if wrong:
        raise WrongTypesError(tuple(wrong[:MAX_FINDINGS]))
    if not declared and not classes:
        raise WrongTypesError((_wrong("The types declare no function."),))
    if facts.convention is Convention.WASM_BINDGEN:
        exports |= dict(_freeing(exports, classes))
    return replace(
        facts,
        exports=tuple(exports[export.name] for export in facts.exports),
        findings=tuple(each for each in facts.findings if each.code != "TYPES_MISSING"),
        types_sha256=hashlib.sha256(text.encode()).hexdigest(),
    )


def without_types(facts: ModuleFacts) -> ModuleFacts:
    """Return the description of a module that came without types; tell where they would be of use."""
    if facts.convention not in _WANTS_TYPES:
        return facts
    text = "Which functions take strings and bytes the binary does not tell, so all of them are called with numbers."
    fix = "Upload it with types: wasm-bindgen's or AssemblyScript's .d.ts, or a list of signatures (see the guests)."
    return replace(facts, findings=(*facts.findings, Finding(Severity.INFO, "TYPES_MISSING", text, fix)))


_WANTS_TYPES = frozenset({Convention.WASM_BINDGEN, Convention.ASSEMBLYSCRIPT, Convention.PACKED_BYTES})


def _wrong(text: str) -> Finding:
    return Finding(Severity.ERROR, REASON, text, _FIX)


def _on_objects(declared: Declared, classes: set[str]) -> Declared:
    """Return a function with the types of handles where it names classes.

    A `.d.ts` does not tell whether a function keeps what it is given, so it is lent. Of an object that may be missing
    wasm-bindgen always gives the function its own.
    """

    def resolved(slot: Slot, kind: str) -> Slot:
        if slot.problem not in classes:
            return slot
        if slot.optional:
            return Slot(slot.name, (Type("option", (Type("own", (), (slot.problem,)),)),))
        return Slot(slot.name, (Type(kind, (), (slot.problem,)),))

    result = None if declared.result is None else resolved(declared.result, "own")
    return replace(declared, parameters=tuple(resolved(slot, "borrow") for slot in declared.parameters), result=result)


def _without_objects(declared: Declared, export: Export | None) -> Declared:
    """Return a function of a `.d.ts` as it can be called: without the objects of JavaScript that may be missing.

    An array may be an object there too (js_sys): where nothing else fits, it is told as one.
    """
    if export is None:
        return declared
    left_out = replace(declared, parameters=tuple(map(_left_out, declared.parameters)))
    core = _core_type(export)
    slots = (*left_out.parameters, *((left_out.result,) if left_out.result else ()))
    if not all(slot.types for slot in slots) or _resolve(Convention.WASM_BINDGEN, left_out, core) is not None:
        return left_out
    objects = replace(
        left_out,
        parameters=tuple(map(_as_object, left_out.parameters)),
        result=left_out.result and _as_object(left_out.result),
    )
    found = _resolve(Convention.WASM_BINDGEN, objects, core)
    if found is None:
        return declared
    parameters, results = found
    return replace(
        declared,
        parameters=tuple(_told(slot, type_) for slot, type_ in zip(declared.parameters, parameters, strict=True)),
        result=declared.result and _told(declared.result, results[0]),
    )


def _left_out(slot: Slot) -> Slot:
    if slot.types or not slot.optional:
        return slot
    return replace(slot, types=(wasm_bindgen.NO_LIST if slot.problem.endswith("[]") else wasm_bindgen.UNDEFINED,))


def _as_object(slot: Slot) -> Slot:
    return replace(slot, types=(*slot.types, wasm_bindgen.UNDEFINED)) if slot.form in FORMS else slot


def _told(slot: Slot, type_: Type) -> Slot:
    return replace(slot, types=(), problem=slot.form) if type_ is wasm_bindgen.UNDEFINED and slot.types else slot


def _freeing(exports: dict[str, Export], classes: set[str]) -> Iterator[tuple[str, Export]]:
    """Yield the functions that free objects of the classes that are declared, or named by a list of signatures."""
    named = {found for export in exports.values() for each in _types_of(export) for found in _HANDLE.findall(each)}
    for class_ in classes | named:
        name = wasm_bindgen.free_of(class_)
        export = exports.get(name)
        if export is not None and _core_type(export) in wasm_bindgen.FREE_TYPES:
            given = Parameter("self", f"own<{class_}>")
            yield (
                name,
                replace(
                    export, parameters=(given,), callable=True, convention=Convention.WASM_BINDGEN, note=IN_SESSION
                ),
            )


_HANDLE = re.compile(r"\b(?:own|borrow)<(\w+)>", re.ASCII)


def _types_of(export: Export) -> tuple[str, ...]:
    return (*(each.type for each in export.parameters), *export.results)


def _typed(declared: Declared, export: Export | None, convention: Convention, functions: frozenset[str]) -> Export:
    """Return an export with its types. Raises ValueError that completes "the function ..."."""
    if export is None:
        raise ValueError("is not exported by the module")
    unknown = next((slot for slot in (*declared.parameters, declared.result) if slot and not slot.types), None)
    if unknown is not None:
        where = f"its parameter {unknown.name}" if unknown.name else "its result"
        return replace(export, callable=False, note=f"{where} ({clean(unknown.problem, 64)}) {_OBJECT}")
    core = _core_type(export)
    problem = "does not have these types"
    for candidate in _CANDIDATES.get(convention, _PLAIN):
        found = _resolve(candidate, declared, core)
        if found is None:
            continue
        parameters, results = found
        wrong = _check(candidate, parameters, results, core, functions)
        if wrong is None:
            return _bound(export, candidate, declared.parameters, parameters, results)
        problem = f"does not have these types: {wrong}"
    if problem.endswith("types"):
        problem += ": " + _explain(_CANDIDATES.get(convention, _PLAIN)[0], declared, core, functions)
    raise ValueError(problem)


def _uses_buffer(declared: Declared) -> bool:
    slots = (*declared.parameters, *([declared.result] if declared.result else []))
    return declared.buffer is not None and any(map(buffer.passes, (type_ for slot in slots for type_ in slot.types)))


def _through_buffer(declared: Declared, export: Export | None, functions: dict[str, FunctionType]) -> Export:
    """Return an export with its types. Raises ValueError that completes "the function ..."."""
    named = declared.buffer
    if export is None or named is None:
        raise ValueError("is not exported by the module")
    getter = functions.get(named.function)
    if getter is None:
        raise ValueError(f"has a buffer of {clean(named.function)}, which is not exported by the module")
    parameters = tuple(slot.types[0] for slot in declared.parameters)
    results = () if declared.result is None else declared.result.types
    wrong = buffer.mismatch(named, parameters, results, functions[export.name], getter)
    if wrong is not None:
        raise ValueError(f"does not have these types: {wrong}")
    where = f"at the address that {clean(named.function)} returns"
    note = f"strings and bytes go through a buffer of {named.size} bytes, {where}"
    if named.given:
        note += f"; it takes {named.given} of them"
    bound = _bound(export, Convention.BUFFER, declared.parameters, parameters, results)
    return replace(bound, form=named.form(), note=note)


def _core_type(export: Export) -> FunctionType:
    return FunctionType(
        tuple(_CORE.get(each.type, each.type) for each in export.parameters),
        tuple(_CORE.get(each, each) for each in export.results),
    )


_MISSING = frozenset({wasm_bindgen.UNDEFINED, wasm_bindgen.NO_LIST})
MAX_NOTE = 512
_PLAIN = (Convention.PACKED_BYTES, Convention.C_STRINGS)
_CANDIDATES = {
    Convention.WASM_BINDGEN: (Convention.WASM_BINDGEN,),
    Convention.ASSEMBLYSCRIPT: (Convention.ASSEMBLYSCRIPT,),
}


def _bound(
    export: Export,
    convention: Convention,
    slots: Iterable[Slot],
    parameters: tuple[Type, ...],
    results: tuple[Type, ...],
) -> Export:
    missing = [(place, type_) for place, type_ in enumerate(parameters) if type_ in _MISSING]
    spelled = tuple(each.spell() for each in (*parameters, *results))
    simple = all(each in {"s32", "s64", "f32", "f64"} for each in spelled)
    # In wasm-bindgen a function of numbers that may throw returns more than its result.
    words = (len(export.parameters), len(export.results))
    simple = simple and words == (len(parameters), len(results))
    forms = list(zip(slots, parameters, strict=True))
    notes = [IN_SESSION] if holds_handles(spelled) else []
    notes += [
        f"it is called without {slot.name} ({clean(slot.problem, 64)}), which {_OBJECT}"
        for slot, type_ in forms
        if type_ in _MISSING
    ]
    return replace(
        export,
        parameters=tuple(
            Parameter(slot.name, type_.spell(), slot.form) for slot, type_ in forms if type_ not in _MISSING
        ),
        results=tuple(each.spell() for each in results),
        callable=True,
        # Numbers that the binary has as they are need nothing on their way.
        convention=Convention.CORE if simple else convention,
        note="; ".join(notes)[:MAX_NOTE],
        form=wasm_bindgen.left_out(missing),
    )


def _words(convention: Convention) -> Callable[[Type], Iterable[tuple[str, ...]]]:
    """Return what spells a parameter of a convention in core types."""

    def words(type_: Type) -> Iterable[tuple[str, ...]]:
        if convention is Convention.WASM_BINDGEN:
            return wasm_bindgen.words_of(type_)
        if convention is Convention.ASSEMBLYSCRIPT:
            core = assemblyscript.core_of(type_)
            return () if core is None else ((core,),)
        spelled = plain.parameter_words(convention, type_)
        return () if spelled is None else (spelled,)

    return words


def _resolve(
    convention: Convention, declared: Declared, core: FunctionType
) -> tuple[tuple[Type, ...], tuple[Type, ...]] | None:
    """Choose of the types that each parameter and the result may have those that fit; None where none do."""
    words = _words(convention)
    results: Iterable[Type | None] = (None,) if declared.result is None else declared.result.types
    for result in results:
        # wasm-bindgen may return through memory, whose address comes first.
        for skipped in (0, 1) if convention is Convention.WASM_BINDGEN else (0,):
            types = _assign(declared.parameters, core.parameters[skipped:], words)
            if types is None:
                continue
            found = () if result is None else (result,)
            if _fits(convention, types, found, core):
                return types, found
    return None


def _fits(convention: Convention, parameters: tuple[Type, ...], results: tuple[Type, ...], core: FunctionType) -> bool:
    if convention is Convention.WASM_BINDGEN:
        return wasm_bindgen.fit(parameters, results[0] if results else None, core) is not None
    if convention is Convention.ASSEMBLYSCRIPT:
        return assemblyscript.mismatch(parameters, results, core) is None
    return plain.returned_word(convention, results) == core.results


def _check(
    convention: Convention,
    parameters: tuple[Type, ...],
    results: tuple[Type, ...],
    core: FunctionType,
    functions: frozenset[str],
) -> str | None:
    """Say what the module lacks for functions of these types; None where it lacks nothing."""
    if convention in _PLAIN:
        return plain.mismatch(convention, parameters, results, core, functions)
    if convention is Convention.ASSEMBLYSCRIPT:
        return assemblyscript.mismatch(parameters, results, core)
    shape = wasm_bindgen.fit(parameters, results[0] if results else None, core)
    needed = {wasm_bindgen.STACK_POINTER} if shape is not None and shape.in_memory else set()
    if any(map(wasm_bindgen.needs_memory, parameters)):
        needed.add(wasm_bindgen.MALLOC)
    missing = sorted(needed - functions)
    if not missing:
        return None
    if any(map(wasm_bindgen.looks_unbound, functions)):
        return "the module is what cargo built; upload what wasm-bindgen makes of it, NAME_bg.wasm"
    return (
        f"the module does not export {missing[0]}; if it was stripped before wasm-bindgen read it, build it unstripped"
    )


def _explain(convention: Convention, declared: Declared, core: FunctionType, functions: frozenset[str]) -> str:
    parameters = tuple(slot.types[0] for slot in declared.parameters)
    results = () if declared.result is None else declared.result.types[:1]
    found = None
    if convention in _PLAIN:
        found = plain.mismatch(convention, parameters, results, core, functions)
    elif convention is Convention.ASSEMBLYSCRIPT:
        found = assemblyscript.mismatch(parameters, results, core)
    return found or f"its core type is ({', '.join(core.parameters)}) -> ({', '.join(core.results)})"


def _assign(
    slots: tuple[Slot, ...], core: tuple[str, ...], words: Callable[[Type], Iterable[tuple[str, ...]]]
) -> tuple[Type, ...] | None:
    """Choose a type for each slot so that together they are spelled by these core types."""
    reached: dict[int, tuple[Type, ...]] = {0: ()}
    for slot in slots:
        following: dict[int, tuple[Type, ...]] = {}
        for position, before in reached.items():
            for type_ in slot.types:
                for spelled in words(type_):
                    end = position + len(spelled)
                    if core[position:end] == spelled and end <= len(core):
                        following.setdefault(end, (*before, type_))
        reached = following
    return reached.get(len(core))
