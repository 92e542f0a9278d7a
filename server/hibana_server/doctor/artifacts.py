"""Compiled modules on disk, and how much of their budget they use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hibana_server.doctor.check import Check, State, spelled
from hibana_server.sandbox.artifact_shelf import ArtifactShelf
from hibana_server.settings.model import Settings
from hibana_server.storage.data_dir import DataDir


def examine_artifacts(settings: Settings) -> Iterator[Check]:
    """Count them. Changes nothing. Raises OSError."""
    budget = settings.compile.artifact_bytes
    root = DataDir(Path(settings.data_dir).absolute()).artifacts
    entries = ArtifactShelf(root, max_bytes=budget, grace_seconds=0.0).entries()
    used = sum(entry.size for entry in entries)
    detail = f"{len(entries)} compiled modules, {spelled(used)} of {spelled(budget)}"
    if used > budget:
        fix = "Raise compile.artifact_bytes if modules are compiled again and again; a server removes what is over."
        yield Check("artifacts", State.WARN, detail, fix)
    else:
        yield Check("artifacts", State.OK, detail)
