"""What an audit entry tells of a change: the fields that differ, bounded, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hibana_server.domain.api_keys import ApiKey
from hibana_server.domain.modules import Module, ModuleVersion
from hibana_server.domain.quotas import Quota
from hibana_server.domain.references import spell
from hibana_server.domain.text import cut_utf8

MAX_BYTES = 2048
"""Of the fields before, and of those after."""
_TEXT_BYTES = 256
_ITEMS = 50

State = Mapping[str, Any]
"""Names of fields with what JSON can hold; a set or tuple of subjects is told by who was added and who removed."""


def difference(before: State | None, after: State | None) -> tuple[str, str]:
    """Return the fields that differ as they were and as they are, as JSON; empty for what is not there."""
    old, new = dict(before or {}), dict(after or {})
    told_old: dict[str, Any] = {}
    told_new: dict[str, Any] = {}
    for name in [*old, *(name for name in new if name not in old)]:
        was, now = old.get(name), new.get(name)
        if was == now:
            continue
        if isinstance(was, tuple) and isinstance(now, tuple):
            told_old[name], told_new[name] = _without(was, now), _without(now, was)
            continue
        if name in old:
            told_old[name] = was
        if name in new:
            told_new[name] = now
    return ("" if before is None else _encoded(told_old)), ("" if after is None else _encoded(told_new))


def module_state(module: Module) -> dict[str, Any]:
    """Return what an audit entry may tell of a module."""
    return {
        "reference": module_reference(module),
        "status": module.status.value,
        "live_version": module.live_version,
        "is_public": module.is_public,
        "allowed_users": module.allowed_users,
        "description": module.description,
        "memory_bytes": module.limits.memory_bytes,
        "timeout": module.limits.timeout,
        "labels": dict(module.labels),
        "sensitive_input": module.sensitive_input,
    }


def version_state(version: ModuleVersion) -> dict[str, Any]:
    """Return what an audit entry may tell of a version."""
    return {
        "version": version.version,
        "sha256": version.sha256,
        "size_bytes": version.size,
        "runnable": version.facts.runnable,
        "published": version.publish_time is not None,
    }


def quota_state(quota: Quota) -> dict[str, Any]:
    """Return what an audit entry tells of an exception: the bounds that it sets."""
    return {name: value for name in Quota.__slots__ if (value := getattr(quota, name)) is not None}


def key_state(key: ApiKey) -> dict[str, Any]:
    """Return what an audit entry tells of an API key: nothing of its secret, nor of what is stored of it."""
    return {
        "subject": key.subject,
        "role": key.role.value,
        "display_name": key.display_name,
        "expire_time": key.expire_time,
        "revoke_time": key.revoke_time,
    }


def module_reference(module: Module, version: str = "") -> str:
    """Spell a module, or a version of it, as people do."""
    reference = spell(module.tier, module.owner, module.name)
    return f"{reference}@{version}" if version else reference


def _without(some: tuple[Any, ...], others: tuple[Any, ...]) -> list[Any]:
    return sorted(set(some) - set(others))


def _encoded(fields: dict[str, Any]) -> str:
    told = {name: _bounded(value) for name, value in fields.items()}
    text = _json(told)
    while len(text) > MAX_BYTES:
        longest = max(told, key=lambda name: len(_json(told[name])))
        told[longest] = f"... {len(_json(fields[longest]))} bytes"
        text = _json(told)
    return text


def _bounded(value: Any) -> Any:
    if isinstance(value, str):
        return cut_utf8(value, _TEXT_BYTES)
    if isinstance(value, Mapping):
        kept = {cut_utf8(str(key), _TEXT_BYTES): _bounded(each) for key, each in list(value.items())[:_ITEMS]}
        return kept if len(value) <= _ITEMS else {**kept, "...": f"{len(value) - _ITEMS} more"}
    if isinstance(value, list | tuple):
        kept_items = [_bounded(each) for each in value[:_ITEMS]]
        return kept_items if len(value) <= _ITEMS else [*kept_items, f"... {len(value) - _ITEMS} more"]
    return value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))
