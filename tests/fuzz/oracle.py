"""What holds for the gate whatever the bytes are."""

from __future__ import annotations

import wasmtime
from wasmtime import component

from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.sandbox.engine_settings import COMPONENT
from hibana_server.sandbox.features import COMPACT_IMPORTS
from hibana_server.sandbox.gate.component import read_component
from hibana_server.sandbox.gate.errors import FeatureUsed, LimitPassed, Malformed, Refused
from hibana_server.sandbox.gate.header import is_component
from hibana_server.sandbox.gate.inspect import inspect
from hibana_server.sandbox.gate.limits import limits_of
from hibana_server.sandbox.worker.engine import compile_config

LONGEST_TEXT = 600
# Refused by the engine as well, but not by its validator.
_BEYOND_THE_VALIDATOR = {COMPACT_IMPORTS.title}

_engine = wasmtime.Engine(compile_config())
_components = wasmtime.Engine(compile_config(COMPONENT))


def look(data: bytes, tier: Tier = Tier.USER) -> Refused | None:
    """Inspect and return the refusal; anything else that is raised escapes."""
    policy = DEFAULT_POLICIES[tier]
    try:
        if is_component(data):
            read_component(data, limits_of(policy))
            return None
        facts = inspect(data, tier, policy)
    except Refused as refused:
        found = refused
    else:
        assert all(len(export.name) <= 256 for export in facts.exports)
        return None
    assert 0 < len(found.finding.text) <= LONGEST_TEXT, found.finding
    assert found.finding.text.isprintable(), found.finding
    assert found.finding.fix
    return found


def check(data: bytes) -> None:
    """Assert that the gate answers, and refuses nothing but what the engine refuses too or what a limit names."""
    user, admin = look(data), look(data, Tier.ADMIN)
    assert not (admin and not user), "an admin may upload what a user may"
    if isinstance(user, LimitPassed) or user is None:
        return
    assert type(user) is type(admin) or isinstance(admin, LimitPassed)
    if isinstance(user, FeatureUsed) and any(title in user.finding.text for title in _BEYOND_THE_VALIDATOR):
        return
    assert isinstance(user, Malformed | FeatureUsed)
    assert not valid(data), f"the engine takes what the gate refuses: {user.finding.text}"


def valid(data: bytes) -> bool:
    """Tell what the engine's validator makes of binary data; text is never valid here."""
    if not data.startswith(b"\0asm"):
        return False
    try:
        if is_component(data):
            component.Component(_components, data)
        else:
            wasmtime.Module.validate(_engine, data)
    except wasmtime.WasmtimeError:
        return False
    return True
