"""Settings of the engine, as data: worker and compiler apply them, the front only needs their fingerprint.

An artifact loads only into an engine with the same settings, so both sides build theirs from these tables. This
module does not import the engine, because the front must not. Why a proposal is off stands in `features.py`.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from hibana_server.domain.modules import Convention
from hibana_server.sandbox.features import OFF, OFF_FOR_COMPONENTS, OFF_FOR_CORE_CODE, Feature

ENGINE_PACKAGE = "wasmtime"


def _switched_off(features: tuple[Feature, ...]) -> dict[str, bool | int | str]:
    return {switch: False for feature in features for switch in feature.switches}


_ON_AND_RUN: dict[str, bool | int | str] = {
    # What common toolchains emit by default.
    "wasm_simd": True,
    "wasm_bulk_memory": True,
    "wasm_multi_value": True,
    "wasm_reference_types": True,  # wasm-bindgen's output declares funcref and externref tables
    "gc_support": True,  # externref needs it
    # Not seen by guests.
    "wasm_relaxed_simd_deterministic": True,  # were relaxed SIMD ever on, all processors should agree
    "wasm_branch_hinting": False,  # hints are a custom section, ignored: nobody measured that they help
    # How a guest is run.
    "epoch_interruption": True,  # ends loops at the time limit
    "max_wasm_stack": 512 * 1024,  # beyond 2 MiB the engine aborts its process
    "cranelift_nan_canonicalization": True,  # the same answer on every CPU
    "parallel_compilation": False,  # threads of a parallel compile hang a process forked later
}

CORE_SETTINGS: dict[str, bool | int | str] = {**_switched_off(OFF), **_ON_AND_RUN}
"""Settings for core modules and WASI preview 1 programs. Names are attributes of `wasmtime.Config`, or functions
`wasmtime_config_NAME_set` of the C API where `Config` has none."""

COMPONENT_SETTINGS: dict[str, bool | int | str] = {
    **_switched_off((*OFF_FOR_CORE_CODE, *OFF_FOR_COMPONENTS)),
    **_ON_AND_RUN,
    "wasm_component_model": True,
    # What the engine itself writes to copy values between two parts of a component works on the memories of both, and
    # without this the engine ends its process. A part with more than one memory is refused by the gate.
    "wasm_multi_memory": True,
}
"""Settings for components of WASI 0.2."""


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """How one kind of module is compiled, and what one call of it may be made of."""

    name: str
    settings: Mapping[str, bool | int | str]
    instances: int
    """Core instances of one call."""
    memories: int
    """Linear memories of one call; the memory limit holds for each, so that more than one needs a wall besides."""
    tables: int
    """Tables of one call."""


CORE = Profile("core", CORE_SETTINGS, instances=1, memories=1, tables=4)
WASI = Profile("wasi", CORE_SETTINGS, instances=1, memories=1, tables=4)
"""Programs of WASI preview 1. Compiled like core modules, so that both are served by the same workers."""
COMPONENT = Profile("component", COMPONENT_SETTINGS, instances=1_000, memories=16, tables=256)
"""Components are made of many core modules; the gate counts how many of each by tier."""

PROFILES = (CORE, WASI, COMPONENT)

_PROFILE_OF = {
    Convention.WASI_COMMAND: WASI,
    Convention.WASI_REACTOR: WASI,
    Convention.COMPONENT: COMPONENT,
}


def profile_of(convention: Convention) -> Profile:
    """Return the profile that modules of a calling convention are compiled with."""
    return _PROFILE_OF.get(convention, CORE)


def fingerprint(profile: Profile) -> str:
    """Return a digest (hex) of everything an artifact of this profile depends on besides the module.

    Engine release, settings, architecture and CPU features: code is generated for the CPU at hand and must
    not be loaded on another.
    """
    parts = {
        "engine": f"{ENGINE_PACKAGE} {version(ENGINE_PACKAGE)}",
        "settings": dict(profile.settings),
        "rewritten": "memory export 1",  # gate/memory_export.py
        "machine": platform.machine(),
        "cpu": sorted(_cpu_features()),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@cache
def engine_fingerprint() -> str:
    """Return the fingerprint of all profiles: which one a module needs is not known before its bytes are read."""
    each = dict.fromkeys(map(fingerprint, PROFILES))
    return hashlib.sha256("\0".join(each).encode()).hexdigest()


def _cpu_features() -> set[str]:
    """Return the features common to all CPUs of this machine (`flags` on x86, `Features` on ARM)."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    each = [set(value.split()) for key, _, value in (line.partition(":") for line in lines) if _is_features(key)]
    return set.intersection(*each) if each else set()


def _is_features(key: str) -> bool:
    return key.strip() in {"flags", "Features"}
