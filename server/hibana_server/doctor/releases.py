"""Which releases run here."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterator

from hibana_server.doctor.check import Check, State
from hibana_server.settings.model import Settings
from hibana_server.storage.sqlite.examine import SQLITE_RELEASE

OLDEST_SQLITE = (3, 24, 0)
"""The first with `ON CONFLICT ... DO UPDATE`, which the stores use."""
_PACKAGES = ("hibana", "wasmtime", "grpcio")


def examine_releases(_settings: Settings) -> Iterator[Check]:
    """Tell the releases of Python, the service, the engine, gRPC and SQLite."""
    yield Check("release python", State.OK, f"{platform.python_version()} ({platform.machine()})")
    for package in _PACKAGES:
        try:
            yield Check(f"release {package}", State.OK, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            yield Check(f"release {package}", State.FAIL, "not installed", "pip install 'hibana[server]'")
    yield judge_sqlite(SQLITE_RELEASE)


def judge_sqlite(release: str) -> Check:
    """Turn SQLite's release into a check."""
    if tuple(map(int, release.split("."))) >= OLDEST_SQLITE:
        return Check("release sqlite", State.OK, release)
    oldest = ".".join(map(str, OLDEST_SQLITE))
    return Check("release sqlite", State.FAIL, release, f"Run a Python with SQLite {oldest} or later.")
