"""Whether a caller may run a module now, why or why not, and within which limits."""

from __future__ import annotations

from dataclasses import dataclass

from hibana_server.domain.access import Action, Denied, Granted, decide
from hibana_server.domain.callers import Caller
from hibana_server.domain.errors import FailedPrecondition
from hibana_server.domain.executions import Limits
from hibana_server.domain.modules import Module
from hibana_server.domain.tiers import Tier
from hibana_server.services.catalog import Catalog


@dataclass(frozen=True, slots=True)
class Access:
    """The answer."""

    granted: bool
    explanation: str
    limits: Limits
    """Those of tier and module; what a request or a deadline lowers is not known yet."""
    host_functions: tuple[str, ...]


async def access_of(catalog: Catalog, caller: Caller, reference: str) -> Access:
    """Tell whether the caller may run what this reference means.

    Asks what a run asks, so that it cannot tell otherwise. Raises Invalid, and NotFound for what the
    caller may not see.
    """
    module = await catalog.module(caller, reference, Action.VIEW)
    ceiling, host_functions = catalog.granted_to(module)
    decision = decide(caller, Action.EXECUTE, module)
    if isinstance(decision, Denied):
        granted, explanation = False, decision.text
    else:
        try:
            await catalog.runnable(caller, reference)
        except FailedPrecondition as error:
            granted, explanation = False, f"{error.message}; {_who_can_help(caller, module)}"
        else:
            granted, explanation = True, _why(caller, module)
    return Access(granted, explanation, ceiling, host_functions)


def _who_can_help(caller: Caller, module: Module) -> str:
    """Tell who would have to upload or publish another version."""
    if isinstance(decide(caller, Action.EDIT, module), Granted):
        return "you can upload or publish one that runs"
    who = f"its owner {module.owner}" if module.tier is Tier.USER else "an admin"
    return f"{who} would have to upload or publish one that runs"


def _why(caller: Caller, module: Module) -> str:
    if module.tier is Tier.SYSTEM:
        return "every authenticated caller may run system modules"
    if module.tier is Tier.ADMIN:
        return "admins may run admin modules"
    if module.owner == caller.subject:
        return "you own the module"
    return "the module is public" if module.is_public else "you are on the module's allow-list"
