"""What UpdateModule changes, and the rules that a change of a module keeps. Pure functions over values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeVar

from hibana_server.domain.access import Action, require
from hibana_server.domain.callers import Caller
from hibana_server.domain.errors import Conflict, FailedPrecondition, Invalid
from hibana_server.domain.modules import Module, ModuleLimits, Status
from hibana_server.domain.tiers import Tier

_Value = TypeVar("_Value")


class Keep(Enum):
    """Stands for a field that is left as it is."""

    KEEP = "keep"


KEEP = Keep.KEEP


@dataclass(frozen=True, slots=True)
class ModuleChange:
    """New values of a module's fields."""

    description: str | Keep = KEEP
    is_public: bool | Keep = KEEP
    allowed_users: tuple[str, ...] | Keep = KEEP
    memory_bytes: int | Keep | None = KEEP
    """None leaves the tier's."""
    timeout: float | Keep | None = KEEP
    """Seconds; None leaves the tier's."""
    labels: tuple[tuple[str, str], ...] | Keep = KEEP
    sensitive_input: bool | Keep = KEEP
    status: Status | Keep = KEEP

    @property
    def shares(self) -> bool:
        """Tell whether it lets others than the owner run the module."""
        return self.is_public is True or (self.allowed_users is not KEEP and bool(self.allowed_users))

    @property
    def actions(self) -> list[Action]:
        """Return what a caller must be allowed to do to make this change."""
        fields = (self.description, self.is_public, self.allowed_users, self.memory_bytes, self.timeout, self.labels)
        edits = any(value is not KEEP for value in (*fields, self.sensitive_input))
        # A change of nothing is an edit as well: what it answers is for those who may edit.
        disables = self.status is not KEEP
        return [Action.EDIT] * (edits or not disables) + [Action.DISABLE] * disables


def changed(caller: Caller, module: Module, change: ModuleChange, etag: str, now: int) -> Module:
    """Return the module with the change made.

    Raises NotFound, PermissionDenied, FailedPrecondition(MODULE_DELETED), Conflict(ETAG_MISMATCH), Invalid.
    """
    for action in change.actions:
        require(caller, action, module)
    check_living(module)
    check_etag(module, etag)
    if module.tier is not Tier.USER and change.shares:
        field = "module.is_public" if change.is_public is True else "module.allowed_users"
        raise Invalid.field(field, "is for user modules; leave it out")
    after = replace(
        module,
        description=_new(change.description, module.description),
        is_public=_new(change.is_public, module.is_public),
        allowed_users=_new(change.allowed_users, module.allowed_users),
        limits=ModuleLimits(
            memory_bytes=_new(change.memory_bytes, module.limits.memory_bytes),
            timeout=_new(change.timeout, module.limits.timeout),
        ),
        labels=module.labels if change.labels is KEEP else dict(change.labels),
        status=_new(change.status, module.status),
        sensitive_input=_new(change.sensitive_input, module.sensitive_input),
    )
    return module if after == module else replace(after, update_time=now)


def check_living(module: Module) -> None:
    """Raise FailedPrecondition(MODULE_DELETED) for a deleted module."""
    if module.status is Status.DELETED:
        raise FailedPrecondition("the module is deleted; undelete it first", reason="MODULE_DELETED")


def check_etag(module: Module, etag: str) -> None:
    """Raise Conflict(ETAG_MISMATCH) unless the etag is empty or the current one."""
    if etag and etag != module.etag:
        raise Conflict("the module changed since its etag was read; get it again and decide anew")


def _new(value: _Value | Keep, old: _Value) -> _Value:
    return old if isinstance(value, Keep) else value
