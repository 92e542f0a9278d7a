"""Turn modules and versions into rows and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import RowMapping

from hibana_server.domain.modules import (
    Convention,
    Finding,
    Module,
    ModuleFacts,
    ModuleLimits,
    ModuleVersion,
    Status,
)
from hibana_server.domain.tiers import Tier

TIER_RANKS = {Tier.SYSTEM: 3, Tier.ADMIN: 2, Tier.USER: 1}


@dataclass(frozen=True, slots=True)
class _FactsInLists:
    """The part of `ModuleFacts` that lists show; reading the rest of a large module takes thirteen times as long."""

    convention: Convention
    memory_pages: int = 0
    max_memory_pages: int | None = None
    findings: tuple[Finding, ...] = ()


_facts = msgspec.json.Decoder(ModuleFacts)
_facts_in_lists = msgspec.json.Decoder(_FactsInLists)
_labels = msgspec.json.Decoder(dict[str, str])


def namespace(tier: Tier, owner: str) -> str:
    """Return what a name is unique in: the owner for the user tier, the tier itself otherwise."""
    return owner if tier is Tier.USER else ""


def fold(text: str) -> str:
    """Return text in the form in which letters of either case are equal."""
    return text.casefold()


def module_row(module: Module) -> dict[str, object]:
    """Return the row of `tables.modules`."""
    words = [module.name, module.description, *(word for label in module.labels.items() for word in label)]
    return {
        "uid": module.uid,
        "tier": module.tier.value,
        "tier_rank": TIER_RANKS[module.tier],
        "namespace": namespace(module.tier, module.owner),
        "owner": module.owner,
        "name": module.name,
        "description": module.description,
        "status": module.status.value,
        "is_public": module.is_public,
        "labels": msgspec.json.encode(module.labels).decode(),
        # A separator that no word holds keeps a match from spanning two of them.
        "search_text": fold("\x1f".join(words)),
        "memory_bytes": module.limits.memory_bytes,
        "timeout": module.limits.timeout,
        "live_version": module.live_version,
        "revision": module.revision,
        "create_time": module.create_time,
        "update_time": module.update_time,
        "delete_time": module.delete_time,
        "status_before": module.status_before.value,
        "sensitive_input": module.sensitive_input,
    }


def allowed_rows(module: Module) -> list[dict[str, object]]:
    """Return the rows of `tables.allowed_users`."""
    return [{"module_uid": module.uid, "subject": subject} for subject in sorted(set(module.allowed_users))]


def version_row(version: ModuleVersion) -> dict[str, object]:
    """Return the row of `tables.versions`."""
    return {
        "module_uid": version.module_uid,
        "version": version.version,
        "sha256": version.sha256,
        "size": version.size,
        "facts": msgspec.json.encode(version.facts),
        "creator": version.creator,
        "create_time": version.create_time,
        "publish_time": version.publish_time,
    }


def module_from(row: RowMapping | Mapping[str, Any], allowed: Iterable[str]) -> Module:
    """Return the module of a row and the subjects on its allow-list, in order."""
    return Module(
        uid=row["uid"],
        tier=Tier(row["tier"]),
        owner=row["owner"],
        name=row["name"],
        description=row["description"],
        status=Status(row["status"]),
        is_public=row["is_public"],
        allowed_users=tuple(sorted(allowed)),
        limits=ModuleLimits(memory_bytes=row["memory_bytes"], timeout=row["timeout"]),
        labels=_labels.decode(row["labels"]),
        live_version=row["live_version"],
        revision=row["revision"],
        create_time=row["create_time"],
        update_time=row["update_time"],
        delete_time=row["delete_time"],
        status_before=Status(row["status_before"] or Status.ACTIVE),
        sensitive_input=bool(row["sensitive_input"]),
    )


def version_from(row: RowMapping, *, whole: bool = True) -> ModuleVersion:
    """Return the version of a row; `whole=False` leaves out its exports and imports, as lists do."""
    return ModuleVersion(
        module_uid=row["module_uid"],
        version=row["version"],
        sha256=row["sha256"],
        size=row["size"],
        facts=_facts.decode(row["facts"]) if whole else _facts_shown_in_lists(row["facts"]),
        creator=row["creator"],
        create_time=row["create_time"],
        publish_time=row["publish_time"],
    )


def _facts_shown_in_lists(encoded: bytes) -> ModuleFacts:
    found = _facts_in_lists.decode(encoded)
    return ModuleFacts(
        convention=found.convention,
        memory_pages=found.memory_pages,
        max_memory_pages=found.max_memory_pages,
        findings=found.findings,
    )
