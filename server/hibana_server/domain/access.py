"""Who may do what: one pure function over caller, action and module.

The table is the one in docs/concepts.md. Answers are values: a `Denied` also tells whether the
caller may know that the module exists; where not, the answer must look like an unknown module.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hibana_server.domain.callers import Caller
from hibana_server.domain.errors import FailedPrecondition, HibanaError, NotFound, PermissionDenied
from hibana_server.domain.modules import Module, Status
from hibana_server.domain.tiers import Tier


class Action(Enum):
    """What a caller may want of a module."""

    VIEW = "view"
    """List and get: description, exports, limits."""
    EXECUTE = "execute"
    INSPECT = "inspect"
    """Allow-list, findings, unpublished versions, bytes, numbers."""
    EDIT = "edit"
    """Upload versions, change, publish, share."""
    DISABLE = "disable"
    """Disable or enable."""
    DELETE = "delete"
    """Delete or undelete."""
    TRANSFER = "transfer"
    """Give to another owner."""


@dataclass(frozen=True, slots=True)
class Granted:
    """Yes."""


@dataclass(frozen=True, slots=True)
class Denied:
    """No, and why."""

    text: str
    visible: bool
    """Whether the caller may know that the module exists."""
    disabled: bool = False
    """Whether the only obstacle is that the module is disabled."""


Decision = Granted | Denied
GRANTED = Granted()


def may_create(caller: Caller, tier: Tier) -> Decision:
    """Decide whether a caller may make modules of a tier."""
    if tier is Tier.USER or caller.is_admin:
        return GRANTED
    return Denied(f"{tier} modules are made by admins; upload with tier user, or use an admin's token", visible=True)


def decide(caller: Caller, action: Action, module: Module) -> Decision:
    """Decide whether the caller may do this to the module."""
    owns = module.tier is Tier.USER and module.owner == caller.subject
    in_charge = owns or caller.is_admin
    allowed = _may_execute_when_active(caller, module, owns=owns)
    visible = in_charge or (allowed and module.status is Status.ACTIVE)
    if not visible:
        return Denied("no such module, or not for this caller", visible=False)
    if action is Action.VIEW:
        return GRANTED
    if action is Action.EXECUTE:
        return _decide_execute(module, allowed=allowed)
    if action in (Action.INSPECT, Action.DISABLE, Action.DELETE):
        return GRANTED if in_charge else Denied("only the owner and admins may do this", visible=True)
    return _decide_edit(caller, action, module, owns=owns)


def _may_execute_when_active(caller: Caller, module: Module, *, owns: bool) -> bool:
    if module.tier is Tier.SYSTEM:
        return True
    if module.tier is Tier.ADMIN:
        return caller.is_admin
    return owns or module.is_public or caller.subject in module.allowed_users


def _decide_execute(module: Module, *, allowed: bool) -> Decision:
    if module.status is Status.DELETED:
        # Only those in charge come here: everyone else was told "no such module" above.
        return Denied("the module is deleted; undelete it first", visible=False)
    if module.status is Status.DISABLED:
        # Only those in charge come here as well, and all of them are told why, shared with them or not.
        return Denied("the module is disabled; its owner or an admin can enable it", visible=True, disabled=True)
    if not allowed:
        return Denied(
            "only the owner and callers on its allow-list may run this module; ask the owner to share it", visible=True
        )
    return GRANTED


def _decide_edit(caller: Caller, action: Action, module: Module, *, owns: bool) -> Decision:
    if action is Action.TRANSFER and module.tier is not Tier.USER:
        return Denied(f"{module.tier} modules belong to all admins; only user modules change owners", visible=True)
    if owns or (caller.is_admin and module.tier is not Tier.USER):
        return GRANTED
    return Denied("only the owner may change this module", visible=True)


def refusal(denied: Denied) -> HibanaError:
    """Turn a denial about a module into the error that tells no more than the caller may know."""
    if not denied.visible:
        return NotFound(
            "no such module, or it is not visible to you; `hibana modules list` shows those that are, and a module of "
            "somebody else is called user/OWNER/NAME"
        )
    if denied.disabled:
        return FailedPrecondition(denied.text, reason="MODULE_DISABLED")
    return PermissionDenied(denied.text)
