"""From a reference to the module and version it means, for this caller.

Every call goes through here, so what was found is kept until any process commits a change to the
registry (`ModuleStore.generation`).
"""

from __future__ import annotations

from collections.abc import Mapping

from hibana_server.domain.access import Action, Denied, decide, require, unknown, unknown_version
from hibana_server.domain.callers import Caller, Role
from hibana_server.domain.errors import FailedPrecondition
from hibana_server.domain.executions import Limits
from hibana_server.domain.modules import Module, ModuleVersion, Severity
from hibana_server.domain.ports import ModuleStore
from hibana_server.domain.references import Reference, parse
from hibana_server.domain.tiers import Tier, TierPolicy
from hibana_server.services.targets import Target, ceiling

MAX_KEPT = 4096
"""References that are remembered, each for one caller."""
MAX_KEPT_EXPORTS = 50_000
"""Exported functions of the versions that are remembered: descriptions take 0.2 to 2 KB for each."""


class Catalog:
    """Finds modules and versions and asks the access rules."""

    def __init__(self, store: ModuleStore, policies: Mapping[Tier, TierPolicy]) -> None:
        self._store = store
        self._policies = policies
        self.generation = -1
        """The state of the registry in which `known` looked last."""
        self._targets: dict[tuple[str, Role, str], Target] = {}
        """By subject and role of the caller, and reference."""
        self._shared: dict[tuple[str, str], Target] = {}
        self._exports = 0

    async def module(self, caller: Caller, reference: str, action: Action, field: str = "module") -> Module:
        """Return the module if the caller may do this to it.

        Raises Invalid, NotFound, PermissionDenied, FailedPrecondition.
        """
        return await self._module(caller, parse(reference, field), action)

    async def version(
        self, caller: Caller, reference: str, action: Action = Action.VIEW, field: str = "version"
    ) -> tuple[Module, ModuleVersion]:
        """Return the version meant, or the live one; unpublished ones for those in charge only."""
        parsed = parse(reference, field)
        module = await self._module(caller, parsed, action)
        return module, await self._version(caller, action, module, parsed.version)

    def known(self, caller: Caller, reference: str) -> Target | None:
        """Return what a run of this reference means, if that was found before and nothing has changed since."""
        generation = self._store.generation()
        if generation != self.generation or len(self._targets) >= MAX_KEPT or self._exports > MAX_KEPT_EXPORTS:
            self._targets.clear()
            self._shared.clear()
            self._exports = 0
            self.generation = generation
        return self._targets.get((caller.subject, caller.role, reference))

    def changed_since(self, generation: int) -> bool:
        """Tell whether the registry has changed since then."""
        return self._store.generation() != generation

    async def runnable(self, caller: Caller, reference: str) -> Target:
        """Return what to run. Raises as `module`, and FailedPrecondition(NOT_RUNNABLE, NO_LIVE_VERSION)."""
        target = self.known(caller, reference)
        if target is None:
            generation = self.generation
            target = await self._find_runnable(caller, reference)
            # What was read may be older than a change committed meanwhile: keep it only if nothing changed.
            if self.generation == generation == self._store.generation():
                target = self._targets[caller.subject, caller.role, reference] = self._share(target)
        return target

    def granted_to(self, module: Module) -> tuple[Limits, tuple[str, ...]]:
        """Return the limits of tier and module, and the host functions of the tier."""
        policy = self._policies[module.tier]
        return ceiling(module, policy), tuple(sorted(policy.host_functions))

    def _share(self, target: Target) -> Target:
        """Return the one target of its version: a module has any number of references and callers."""
        key = (target.module.uid, target.version.version)
        shared = self._shared.get(key)
        if shared is None:
            shared = self._shared[key] = target
            self._exports += len(target.version.facts.exports)
        return shared

    async def _find_runnable(self, caller: Caller, reference: str) -> Target:
        parsed = parse(reference)
        module = await self._module(caller, parsed, Action.EXECUTE)
        version = await self._version(caller, Action.EXECUTE, module, parsed.version)
        check_runnable(version)
        return Target(module, version, self._policies[module.tier])

    async def _module(self, caller: Caller, reference: Reference, action: Action) -> Module:
        if reference.uid:
            module = await self._store.get(reference.uid, viewer=caller)
        else:
            tier = reference.tier or Tier.USER
            namespace = (reference.owner or caller.subject) if tier is Tier.USER else ""
            module = await self._store.find(tier, namespace, reference.name, viewer=caller)
        if module is None:
            raise unknown()
        require(caller, action, module)
        return module

    async def _version(self, caller: Caller, action: Action, module: Module, label: str) -> ModuleVersion:
        if not label and not module.live_version:
            raise FailedPrecondition(
                "the module has no live version; name one with @VERSION or publish one", reason="NO_LIVE_VERSION"
            )
        # What the caller may not see is not read either: it takes as long as what is not there.
        hidden = isinstance(decide(caller, action, module, published=False), Denied)
        version = await self._store.get_version(module.uid, label or module.live_version, published_only=hidden)
        if version is None:
            raise unknown_version(f"modules/{module.uid}/versions/{label}" if hidden else "")
        return version


def check_runnable(version: ModuleVersion) -> None:
    """Raise FailedPrecondition(NOT_RUNNABLE) with the findings that keep a version from running."""
    if not version.facts.runnable:
        errors = [f for f in version.facts.findings if f.severity is Severity.ERROR]
        first = f"{errors[0].text} {errors[0].fix}" if errors else ""
        raise FailedPrecondition(f"version {version.version} cannot run: {first}", findings=errors)
