"""The engine of a sandbox worker."""

from __future__ import annotations

from typing import NamedTuple

import wasmtime

from hibana_server.sandbox.engine_settings import COMPONENT, CORE, Profile
from hibana_server.sandbox.worker.native import ffi

GC_HEAPS = 1
"""externref needs a heap."""
MEMORIES = CORE.memories + GC_HEAPS
"""That heap is a memory to the engine. The guest has one of its own at most: the gate refuses a second."""
TABLES = CORE.tables
STACKS = 1
"""For asynchronous calls, which nobody makes; the default reserves 2 GB of writable address space for a thousand."""
TABLE_ELEMENTS = 100_000
"""Entries of one table: the most functions any tier's gate lets through."""
GUEST_MEMORY_BYTES = 1 << 32
"""Address space of the pooled memory slot; what a guest may use of it is set for each call."""
KEEP_RESIDENT_BYTES = 64 * 1024
"""Memory cleared by writing instead of by giving it back to the kernel: cheaper for small guests."""
INSTANCE_BYTES = 16 * 1024 * 1024


def compile_config(profile: Profile = CORE) -> wasmtime.Config:
    """Return the settings that artifacts of a profile are made with."""
    config = wasmtime.Config()
    for name, value in profile.settings.items():
        if hasattr(type(config), name):
            setattr(config, name, value)
        else:  # the C API knows more switches than the binding
            getattr(ffi, f"wasmtime_config_{name}_set")(config.ptr(), value)
    return config


class Engines(NamedTuple):
    """The engines of a worker."""

    core: wasmtime.Engine
    components: wasmtime.Engine


def component_engine() -> wasmtime.Engine:
    """Build the engine of components. Their memories are mapped when an instance is made: how many differs by far."""
    return wasmtime.Engine(compile_config(COMPONENT))


def worker_engine() -> wasmtime.Engine:
    """Build an engine whose instances come from a pool of one: a call then needs no mmap of its own.

    `Config` has no attribute for the pooling allocator, the C API has. Slots are cleared between
    two instances by the engine.
    """
    config = compile_config()
    pool = ffi.wasmtime_pooling_allocation_config_new()
    try:
        ffi.wasmtime_pooling_allocation_config_total_core_instances_set(pool, CORE.instances)
        ffi.wasmtime_pooling_allocation_config_total_memories_set(pool, MEMORIES)
        # A slot stays writable when its guest has gone, which counts against the worker's limit on data. So a guest
        # never gets the other slot because the one that was used last held another module.
        ffi.wasmtime_pooling_allocation_config_max_unused_warm_slots_set(pool, 0)
        ffi.wasmtime_pooling_allocation_config_total_tables_set(pool, TABLES)
        ffi.wasmtime_pooling_allocation_config_total_gc_heaps_set(pool, GC_HEAPS)
        ffi.wasmtime_pooling_allocation_config_total_stacks_set(pool, STACKS)
        ffi.wasmtime_pooling_allocation_config_max_memories_per_module_set(pool, CORE.memories)
        ffi.wasmtime_pooling_allocation_config_max_tables_per_module_set(pool, TABLES)
        ffi.wasmtime_pooling_allocation_config_table_elements_set(pool, TABLE_ELEMENTS)
        ffi.wasmtime_pooling_allocation_config_max_memory_size_set(pool, GUEST_MEMORY_BYTES)
        ffi.wasmtime_pooling_allocation_config_max_core_instance_size_set(pool, INSTANCE_BYTES)
        ffi.wasmtime_pooling_allocation_config_linear_memory_keep_resident_set(pool, KEEP_RESIDENT_BYTES)
        ffi.wasmtime_pooling_allocation_config_table_keep_resident_set(pool, KEEP_RESIDENT_BYTES)
        ffi.wasmtime_pooling_allocation_strategy_set(config.ptr(), pool)
    finally:
        ffi.wasmtime_pooling_allocation_config_delete(pool)
    return wasmtime.Engine(config)
