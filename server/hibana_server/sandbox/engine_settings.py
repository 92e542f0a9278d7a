"""Settings of the engine, as data: worker and compiler apply them, the front only needs their fingerprint.

An artifact loads only into an engine with the same settings, so both sides build theirs from this table. It
does not import the engine, because the front must not.
"""

from __future__ import annotations

import hashlib
import json
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

ENGINE_PACKAGE = "wasmtime"

CORE_SETTINGS: dict[str, bool | int | str] = {
    # Nobody asked for these; each one switched off is code that no guest can reach.
    "wasm_threads": False,  # a second thread of the guest escapes the accounting of one call
    "shared_memory": False,  # as above
    "wasm_memory64": False,  # the memory limit is enforced cheaply through 4 GiB reservations of wasm32
    "wasm_multi_memory": False,  # the memory limit holds per memory
    "wasm_custom_page_sizes": False,  # limits count in pages of 64 KiB
    "wasm_gc": False,  # a heap beside linear memory, outside its limit
    "wasm_function_references": False,
    "wasm_exceptions": False,
    "wasm_stack_switching": False,
    "wasm_tail_call": False,
    "wasm_relaxed_simd": False,  # results differ between CPUs
    "wasm_wide_arithmetic": False,
    "wasm_component_model": False,  # components will have a table of their own
    # What common toolchains emit by default.
    "wasm_simd": True,
    "wasm_bulk_memory": True,
    "wasm_multi_value": True,
    "wasm_reference_types": True,  # wasm-bindgen's output declares funcref and externref tables
    "gc_support": True,  # externref needs it
    # How a guest is run.
    "epoch_interruption": True,  # ends loops at the time limit
    "max_wasm_stack": 512 * 1024,  # beyond 2 MiB the engine aborts its process
    "cranelift_nan_canonicalization": True,  # the same answer on every CPU
    "parallel_compilation": False,  # threads of a parallel compile hang a process forked later
}
"""Attributes of `wasmtime.Config`, in the order they are set, for core modules and WASI preview 1 programs."""


@cache
def core_fingerprint() -> str:
    """Return a digest (hex) of everything an artifact depends on besides the module.

    Engine release, settings, architecture and CPU features: code is generated for the CPU at hand and must
    not be loaded on another.
    """
    parts = {
        "engine": f"{ENGINE_PACKAGE} {version(ENGINE_PACKAGE)}",
        "settings": CORE_SETTINGS,
        "machine": platform.machine(),
        "cpu": sorted(_cpu_features()),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


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
