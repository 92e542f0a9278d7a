"""Who may do what: one pure function over caller, action and what it is done to.

The table is the one in docs/concepts.md; `rpc/access_rules.py` says which action each RPC is. Answers are
values: a `Denied` also tells whether the caller may know that the thing exists; where not, the answer must
look like that of an unknown one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hibana_server.domain.callers import Caller, Role
from hibana_server.domain.errors import Denial, FailedPrecondition, HibanaError, NotFound, PermissionDenied
from hibana_server.domain.modules import Module, Status
from hibana_server.domain.references import spell
from hibana_server.domain.tiers import Tier

UNKNOWN_MODULE = (
    "no such module, or it is not visible to you; `hibana modules list` shows those that are, and a module of "
    "somebody else is called user/OWNER/NAME"
)
UNKNOWN_VERSION = "no such version of this module; `hibana modules versions` lists those that are there"
UNKNOWN_RECORD = "no such execution, or not one of yours; `hibana executions list` shows those that are"
UNKNOWN_SUBJECT = "no such subject, or not you; leave the subject out to ask for yourself"
UNKNOWN_KEY = "no such API key, or not one of yours; `hibana keys list` shows those that are"


class Action(Enum):
    """What a caller may want."""

    # Of a module, or of one version of it.
    CREATE = "create"
    """Make it, as it would be."""
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

    # Of what belongs to a caller and is no module.
    READ = "read"
    """Get, list, watch. What was executed is executed again (`EXECUTE`) by nobody but who it belongs to."""
    CHANGE = "change"
    """Cancel, make, revoke."""

    # Of the service as a whole.
    OPERATE = "operate"
    """Set quotas and grants, read the audit log."""


@dataclass(frozen=True, slots=True)
class Belonging:
    """What belongs to a caller and is no module: the record of an execution, a quota, an API key."""

    owner: str
    """Subject."""
    unknown: str = UNKNOWN_RECORD
    """What is answered to those who may not know of it, and about what is not there."""
    resource: str = ""
    """Its name, for the audit log."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """An API key as it would be."""

    owner: str
    """Subject."""
    role: Role
    made_by_keys: bool = False
    """Whether the operator lets callers that came with a key make keys."""


@dataclass(frozen=True, slots=True)
class Granted:
    """Yes."""


@dataclass(frozen=True, slots=True)
class Denied:
    """No, and why; where somebody can change that, who and how."""

    text: str
    visible: bool
    """Whether the caller may know that the thing exists."""
    disabled: bool = False
    """Whether the only obstacle is that the module is disabled."""
    unknown: str = UNKNOWN_MODULE
    """What is answered where the caller may not know of it."""


Decision = Granted | Denied
GRANTED = Granted()
_INVISIBLE = Denied(UNKNOWN_MODULE, visible=False)
_INVISIBLE_VERSION = Denied(UNKNOWN_VERSION, visible=False, unknown=UNKNOWN_VERSION)


def decide(
    caller: Caller, action: Action, about: Module | Belonging | NewKey | None = None, *, published: bool = True
) -> Decision:
    """Decide whether the caller may do this.

    `about` is the module (for CREATE as it would be), what belongs to a caller (a new key as it would be), or None for
    OPERATE;
    `published` tells whether the version that is meant was ever live, where one is meant.
    """
    if isinstance(about, Module):
        return _decide_module(caller, action, about, published=published)
    if about is None:
        if action is Action.OPERATE and caller.is_admin:
            return GRANTED
        return Denied("this is for admins; use an admin's token, or ask an operator to do it", visible=True)
    if isinstance(about, NewKey):
        return _decide_new_key(caller, action, about)
    return _decide_belonging(caller, action, about)


def _decide_belonging(caller: Caller, action: Action, about: Belonging) -> Decision:
    own = about.owner == caller.subject
    if action in (Action.READ, Action.CHANGE) and (own or caller.is_admin):
        return GRANTED
    if action is Action.EXECUTE and own:
        return GRANTED
    if action is Action.EXECUTE and caller.is_admin:
        return Denied("only the caller of an execution replays it; its record is yours to read", visible=True)
    return Denied(about.unknown, visible=False, unknown=about.unknown)


def _decide_new_key(caller: Caller, action: Action, about: NewKey) -> Decision:
    if action is not Action.CHANGE or not (caller.is_admin or about.owner == caller.subject):
        return Denied(UNKNOWN_SUBJECT, visible=False, unknown=UNKNOWN_SUBJECT)
    if caller.key and not about.made_by_keys:
        # Whoever stole a key would otherwise outlive its revocation with another.
        return Denied(
            "an API key makes no API keys here; use a token, or ask the operator (keys.made_by_keys)", visible=True
        )
    if about.role.rank > caller.role.rank:
        return Denied(f"a key's role cannot be above its maker's; yours is {caller.role}", visible=True)
    return GRANTED


def in_charge(caller: Caller, tier: Tier, owner: str) -> bool:
    """Tell whether the caller is in charge of a module: its owner, or an admin.

    System and admin modules belong to the admins, whoever made them.
    """
    return caller.is_admin or (tier is Tier.USER and owner == caller.subject)


def _decide_module(caller: Caller, action: Action, module: Module, *, published: bool) -> Decision:
    if action is Action.CREATE:
        return _decide_create(caller, module)
    charge = in_charge(caller, module.tier, module.owner)
    allowed = _may_execute_when_active(caller, module)
    if not charge and not (allowed and module.status is Status.ACTIVE):
        return _INVISIBLE
    if action in (Action.VIEW, Action.EXECUTE) and not charge and not published:
        return _INVISIBLE_VERSION
    if action is Action.VIEW:
        return GRANTED
    if action is Action.EXECUTE:
        return _decide_execute(caller, module, allowed=allowed)
    return _decide_change(caller, action, module, charge=charge)


def _decide_create(caller: Caller, module: Module) -> Decision:
    if module.tier is not Tier.USER and not caller.is_admin:
        return Denied(
            f"{module.tier} modules are made by admins; upload with tier user, or use an admin's token", visible=True
        )
    if module.owner != caller.subject:
        return Denied("modules are made in one's own name; the owner can transfer them afterwards", visible=True)
    return GRANTED


def _may_execute_when_active(caller: Caller, module: Module) -> bool:
    if module.tier is Tier.SYSTEM:
        return True
    if module.tier is Tier.ADMIN:
        return caller.is_admin
    return module.owner == caller.subject or module.is_public or caller.subject in module.allowed_users


def _decide_execute(caller: Caller, module: Module, *, allowed: bool) -> Decision:
    name = f"modules/{module.uid}"
    if module.status is Status.DELETED:
        # Only those in charge come here: everyone else was told "no such module" above.
        return Denied(
            f"the module is deleted; {_those_in_charge(module)} can bring it back: hibana modules undelete {name}",
            visible=False,
        )
    if module.status is Status.DISABLED:
        # Only those in charge come here as well, and all of them are told why, shared with them or not.
        return Denied(
            f"the module is disabled; {_those_in_charge(module)} can enable it: hibana modules update {name} --enable",
            visible=True,
            disabled=True,
        )
    if not allowed:
        return Denied(
            "only the owner and callers on its allow-list may run this module; ask the owner, "
            f"{module.owner}, to share it: hibana modules share {name} --with {caller.subject}",
            visible=True,
        )
    return GRANTED


def _decide_change(caller: Caller, action: Action, module: Module, *, charge: bool) -> Decision:
    if action in (Action.INSPECT, Action.DISABLE, Action.DELETE):
        return GRANTED if charge else Denied(f"only {_those_in_charge(module)} may do this", visible=True)
    if action is Action.TRANSFER and module.tier is not Tier.USER:
        return Denied(f"{module.tier} modules belong to all admins; only user modules change owners", visible=True)
    if action not in (Action.EDIT, Action.TRANSFER):
        return Denied("this is nothing that is done to a module", visible=True)
    if module.owner == caller.subject if module.tier is Tier.USER else caller.is_admin:
        return GRANTED
    who = module.owner if module.tier is Tier.USER else "an admin"
    return Denied(f"only {who} may change this module; ask them to", visible=True)


def _those_in_charge(module: Module) -> str:
    return f"its owner {module.owner} or an admin" if module.tier is Tier.USER else "an admin"


def refusal(denied: Denied) -> HibanaError:
    """Turn a denial into the error that tells no more than the caller may know."""
    if not denied.visible:
        return NotFound(denied.unknown)
    if denied.disabled:
        return FailedPrecondition(denied.text, reason="MODULE_DISABLED")
    return PermissionDenied(denied.text)


def unknown() -> HibanaError:
    """Return the error about a module that is not there: the one that an invisible module gets."""
    return refusal(_INVISIBLE)


def unknown_version(asked: str = "") -> HibanaError:
    """Return the error about a version that is not there: the one that an invisible version gets.

    `asked` is the resource that was asked for, where it may be hidden: the audit log finds out, after the answer.
    """
    return _perhaps_hidden(refusal(_INVISIBLE_VERSION), asked)


def unknown_record(asked: str) -> HibanaError:
    """Return the error about an execution that is not there: the one that somebody else's gets."""
    return _perhaps_hidden(NotFound(UNKNOWN_RECORD), asked)


def _perhaps_hidden(error: HibanaError, asked: str) -> HibanaError:
    if asked:
        error.denial = Denial(asked)
    return error


def unknown_key() -> HibanaError:
    """Return the error about an API key that is not there: the one that somebody else's gets."""
    return refusal(Denied(UNKNOWN_KEY, visible=False, unknown=UNKNOWN_KEY))


def require(caller: Caller, action: Action, about: Module | Belonging | NewKey | None = None) -> None:
    """Raise what a denial means to this caller, if it is one."""
    decision = decide(caller, action, about)
    if isinstance(decision, Denied):
        error = refusal(decision)
        if not decision.disabled:
            error.denial = _denial(action, about, decision)
        raise error


def _denial(action: Action, about: Module | Belonging | NewKey | None, denied: Denied) -> Denial:
    """Describe a denial as it is, whatever the caller is told."""
    if isinstance(about, Module):
        hidden = f"{action.value}: the module is {about.status} and not shared with the caller"
        why = denied.text if denied.visible else hidden
        uid = f"modules/{about.uid}" if action is not Action.CREATE else ""
        return Denial(uid, spell(about.tier, about.owner, about.name), why)
    if about is None:
        return Denial(why=denied.text)
    if isinstance(about, NewKey):
        return Denial(f"subjects/{about.owner}", why=denied.text)
    return Denial(about.resource, why=f"{action.value}: it belongs to {about.owner}")
