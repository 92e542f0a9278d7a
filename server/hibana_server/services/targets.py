"""What a call may run: a version of a module with everything about it that does not change from call to call."""

from __future__ import annotations

from hibana_server.domain.errors import FailedPrecondition, NotFound
from hibana_server.domain.executions import Limits
from hibana_server.domain.modules import Convention, Export, Module, ModuleFacts, ModuleVersion
from hibana_server.domain.references import spell
from hibana_server.domain.sandboxes import Artifact, Binding, Claim
from hibana_server.domain.text import cut_utf8
from hibana_server.domain.tiers import TierPolicy
from hibana_server.domain.values import CORE_TYPES, Arguments, TypedArguments, Value, coerce, signature
from hibana_server.services.calls import DEFAULT_FUNCTION

_SHOWN_FUNCTIONS = 20
_KEPT_CLAIMS = 256
"""Callers of one version whose claims are kept."""
_WASI = frozenset({Convention.WASI_COMMAND, Convention.WASI_REACTOR})


_OWN_KINDS = {**{type_: type_ for type_ in (*CORE_TYPES, "bool", "u32", "u64", "string")}, "list<u8>": "bytes"}
"""Types for which every typed value of this kind is good."""


class Function:
    """An exported function that can be called."""

    __slots__ = ("_kinds", "binding", "export", "in_session", "results", "types")

    def __init__(self, export: Export) -> None:
        self.export = export
        self.types = tuple(parameter.type for parameter in export.parameters)
        """Types of the parameters."""
        self._kinds = tuple(_OWN_KINDS.get(type_, "") for type_ in self.types)
        self.results = export.results
        self.binding: Binding | None = None
        """How values reach it; None where they are numbers as the binary has them."""
        if export.convention is not Convention.CORE:
            forms = tuple(parameter.form for parameter in export.parameters)
            forms = (*forms, export.form) if export.form else forms
            self.binding = Binding(export.convention, self.types, self.results, forms)
        self.in_session = self.binding is not None and self.binding.on_objects
        """Whether it can be called in a session that keeps its instance alone."""

    def values(self, arguments: Arguments) -> tuple[Value, ...]:
        """Turn arguments into values that fit. Raises Invalid(ARGUMENTS_INVALID) naming the index."""
        if isinstance(arguments, TypedArguments) and arguments.kinds == self._kinds:
            # Each of its own kind: the contract's types hold the same range.
            return arguments.values
        return coerce(arguments, self.export)


class Target:
    """A version that the caller may run."""

    __slots__ = (
        "_claims",
        "_functions",
        "artifact",
        "ceiling",
        "memories",
        "module",
        "policy",
        "reference",
        "version",
        "wasi",
    )

    def __init__(self, module: Module, version: ModuleVersion, policy: TierPolicy) -> None:
        self.module = module
        self.version = version
        self.policy = policy
        self.reference = spell(module.tier, module.owner, module.name)
        self.wasi = uses_wasi(version.facts)
        self.memories = version.facts.memories if version.facts.convention is Convention.COMPONENT else None
        """Of a component; None for core modules."""
        self.ceiling = ceiling(module, policy)
        """Limits of tier and module; a request only lowers them."""
        self.artifact: Artifact | None = None
        """Where its code was found last, once it was."""
        self._functions: dict[str, Function] = {}
        self._claims: dict[str, Claim] = {}

    def claim(self, caller: str, artifact: Artifact, memory_bytes: int) -> Claim:
        """Return what a call asks of the pool; the same one for every call of a caller with the same limit."""
        claim = self._claims.get(caller)
        if claim is None or claim.memory_bytes != memory_bytes or claim.key != artifact.key:
            if len(self._claims) >= _KEPT_CLAIMS:
                self._claims.clear()
            claim = Claim(self.module.tier, caller, self.module.owner, artifact.key, memory_bytes)
            self._claims[caller] = claim
        return claim

    def function(self, name: str, *, kept: bool = False) -> Function:
        """Return the exported function to call, in an instance that is `kept` for other calls or in one of its own.

        Raises NotFound(FUNCTION_NOT_FOUND) with those that are there; FailedPrecondition for a function on objects
        where the instance is not kept.
        """
        function = self._functions.get(name)
        if function is None:
            function = self._functions[name] = Function(find_function(self.version.facts, name))
        if function.in_session and not kept:
            raise FailedPrecondition(
                f"{cut_utf8(signature(function.export), 300)} is about objects, which live in a session: call it in "
                "Executor.Session (`hibana session`) without fresh_instance_per_call",
            )
        return function


def find_function(facts: ModuleFacts, name: str) -> Export:
    """Return the exported function of that name. Raises NotFound(FUNCTION_NOT_FOUND) with those that are there."""
    export = facts.export(name)
    if export is not None and export.callable:
        return export
    if export is not None:
        raise NotFound(
            f"{cut_utf8(signature(export), 300)} cannot be called from outside: "
            + (cut_utf8(export.note, 400) or "a type has no value form"),
            reason="FUNCTION_NOT_FOUND",
        )
    names = [e.name for e in facts.exports if e.callable]
    shown = ", ".join(names[:_SHOWN_FUNCTIONS]) or "none"
    more = f" and {len(names) - _SHOWN_FUNCTIONS} more" if len(names) > _SHOWN_FUNCTIONS else ""
    # Nobody who named no function knows that the name `_start` was meant.
    lacks = (
        "the module is no program, so name a function"
        if name == DEFAULT_FUNCTION
        else "the module exports no function of this name"
    )
    if DEFAULT_FUNCTION in names:
        more += "; _start is a program, which takes its words as argv"
    raise NotFound(
        cut_utf8(f"{lacks}; it exports: {shown}{more}", 900),
        reason="FUNCTION_NOT_FOUND",
        metadata={"exports": cut_utf8(",".join(names), 2000)},
    )


def uses_wasi(facts: ModuleFacts) -> bool:
    """Tell whether the module asks for WASI."""
    wasi = ("wasi_snapshot_preview1", "wasi:cli/", "wasi:filesystem/")
    return facts.convention in _WASI or any(each.module.startswith(wasi) for each in facts.imports)


def ceiling(module: Module, policy: TierPolicy) -> Limits:
    """Return the limits of tier and module."""
    memory, timeout = module.limits.memory_bytes, module.limits.timeout
    return Limits(
        memory_bytes=policy.memory_bytes if memory is None else min(memory, policy.memory_bytes),
        timeout=policy.timeout if timeout is None else min(timeout, policy.timeout),
        output_bytes=policy.output_bytes,
    )
