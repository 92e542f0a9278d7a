"""WebAssembly proposals that are switched off, each with its reason: the engine's switches and the findings name them.

Gate and compiler refuse a module that uses one and say which. Every proposal that is listed here is code of the
engine that no guest reaches.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Feature:
    """A proposal nobody's modules may use."""

    title: str
    """What findings call it."""
    reason: str
    """Why it is off; completes the sentence "switched off here, because"."""
    fix: str
    """What to do instead."""
    switches: tuple[str, ...]
    """Names of the engine's settings that belong to it."""
    engine_names: tuple[str, ...] = ()
    """What the engine's validator calls it, in lower case, where that differs from the title."""


THREADS = Feature(
    "threads (shared memory, shared globals, atomics)",
    "a second thread of the guest escapes the accounting of one call",
    "Build without threads and atomics.",
    ("wasm_threads", "shared_memory"),
    ("threads", "shared-everything-threads"),
)
MEMORY64 = Feature(
    "64-bit memory (memory64)",
    "the memory limit is enforced cheaply through reservations that only 32-bit memories fit into",
    "Build for wasm32.",
    ("wasm_memory64",),
    ("memory64",),
)
MULTI_MEMORY = Feature(
    "more than one memory (multi-memory)",
    "the memory limit holds per memory",
    "Build with a single memory.",
    ("wasm_multi_memory",),
    ("multi-memory", "multi memory"),
)
CUSTOM_PAGE_SIZES = Feature(
    "custom page sizes",
    "limits count in pages of 64 KiB",
    "Build with pages of 64 KiB, the default.",
    ("wasm_custom_page_sizes",),
)
GC = Feature(
    "garbage-collected types",
    "their heap lies beside linear memory, outside its limit",
    "Build for linear memory.",
    ("wasm_gc",),
    ("gc", "gc types"),
)
FUNCTION_REFERENCES = Feature(
    "typed function references",
    "only garbage-collected languages emit them, which are off as well",
    "Build without typed function references.",
    ("wasm_function_references",),
    ("function references", "function-references"),
)
EXCEPTIONS = Feature(
    "exception handling",
    "an exception keeps a heap of its own beside linear memory",
    "Build with exceptions off (-fno-exceptions, panic=abort) or lowered to ordinary code.",
    ("wasm_exceptions",),
    ("exceptions", "legacy exceptions"),
)
STACK_SWITCHING = Feature(
    "stack switching",
    "each stack takes memory outside of the guest's limit",
    "Build without stack switching.",
    ("wasm_stack_switching",),
)
TAIL_CALLS = Feature(
    "tail calls",
    "no common toolchain emits them by default, and a switch that is off cannot be attacked",
    "Build without tail calls (clang: -mno-tail-call).",
    ("wasm_tail_call",),
)
RELAXED_SIMD = Feature(
    "relaxed SIMD",
    "its results differ between processors",
    "Build with plain SIMD (-msimd128 without -mrelaxed-simd).",
    ("wasm_relaxed_simd",),
)
WIDE_ARITHMETIC = Feature(
    "wide arithmetic",
    "no common toolchain emits it by default, and a switch that is off cannot be attacked",
    "Build without wide arithmetic.",
    ("wasm_wide_arithmetic",),
)
COMPACT_IMPORTS = Feature(
    "the compact import section",
    "an import that is written in a second way would have to be judged in two ways",
    "Build with ordinary imports.",
    ("wasm_compact_imports",),
    ("compact imports", "compact-imports", "compact import section"),
)
MEMORY_CONTROL = Feature(
    "memory control",
    "memory that a guest maps or discards by itself would escape its limit",
    "Build without memory.discard.",
    (),  # the engine has no switch for it: it is always off
)
CUSTOM_DESCRIPTORS = Feature(
    "custom descriptors",
    "they belong to garbage-collected types, which are off",
    "Build for linear memory.",
    (),  # as above
)
COMPONENTS = Feature(
    "the component model",
    "a core module has no use for it; a component is told by its first eight bytes and has a profile of its own",
    "Upload the component itself, as wasm-tools or the toolchain wrote it.",
    ("wasm_component_model",),
    ("component model",),
)
COMPONENT_ASYNC = Feature(
    "asynchronous components",
    "a call is one run of one function; work that goes on beside it has no limit of its own",
    "Build the component with synchronous functions (WASI 0.2).",
    (
        "wasm_component_model_async",
        "wasm_component_model_async_stackful",
        "wasm_component_model_more_async_builtins",
        "concurrency_support",
    ),
    ("component model async", "stackful", "async builtins"),
)
COMPONENT_DRAFTS = Feature(
    "draft parts of the component model",
    "they may still change, and stored modules have to keep their meaning",
    "Build the component for WASI 0.2 as it was released.",
    (
        "wasm_component_model_map",
        "wasm_component_model_implements",
        "wasm_component_model_accessors",
        "wasm_component_model_canonical_names",
    ),
)

MODULES_FROM_OUTSIDE = Feature(
    "modules and components passed from outside to be instantiated",
    "how many memories and instances a call has would be known only when it runs",
    "Nest what is instantiated in the component that does it, as wasm-tools and wac do.",
    (),  # the engine has no switch for it
)

OFF_FOR_CORE_CODE = (
    THREADS,
    MEMORY64,
    MULTI_MEMORY,
    CUSTOM_PAGE_SIZES,
    GC,
    FUNCTION_REFERENCES,
    EXCEPTIONS,
    STACK_SWITCHING,
    TAIL_CALLS,
    RELAXED_SIMD,
    WIDE_ARITHMETIC,
    COMPACT_IMPORTS,
    MEMORY_CONTROL,
    CUSTOM_DESCRIPTORS,
)
"""Off for core modules, those inside of components included."""

OFF_FOR_COMPONENTS = (COMPONENT_ASYNC, COMPONENT_DRAFTS, MODULES_FROM_OUTSIDE)
"""Off besides, where the component model is on."""

OFF = (*OFF_FOR_CORE_CODE, COMPONENTS, *OFF_FOR_COMPONENTS)
"""Everything that is off in the core and WASI profiles."""
