"""Every switch of the engine is decided in every profile, each feature that is off has its reason."""

from __future__ import annotations

from typing import Any

import pytest
import wasmtime
from wasmtime import _ffi, component

from hibana_server.domain.modules import Convention
from hibana_server.sandbox import features
from hibana_server.sandbox.engine_settings import (
    COMPONENT,
    CORE,
    CORE_SETTINGS,
    PROFILES,
    WASI,
    Profile,
    engine_fingerprint,
    fingerprint,
    profile_of,
)
from hibana_server.sandbox.worker.engine import compile_config
from tests.framework.wasm import wat
from tests.fuzz.seeds import COMPONENT as COMPONENT_TEXT

_SET = "_set"
_PREFIX = "wasmtime_config_"
PROPOSALS = {
    *(name for name in dir(wasmtime.Config) if name.startswith("wasm_")),
    *(
        name.removeprefix(_PREFIX).removesuffix(_SET)
        for name in dir(_ffi)
        if name.startswith(f"{_PREFIX}wasm_") and name.endswith(_SET)
    ),
    "gc_support",
    "shared_memory",
    "concurrency_support",
}


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_every_proposal_the_engine_knows_is_decided(profile: Profile) -> None:
    assert len(PROPOSALS) > 28
    undecided = PROPOSALS - profile.settings.keys()
    assert undecided == set(), "a proposal is new in the engine: decide on it in features.py or engine_settings.py"
    unknown = {name for name in profile.settings if not hasattr(_ffi, f"{_PREFIX}{name}{_SET}")}
    assert unknown == set(), "the engine knows no such switch any more"
    wasmtime.Engine(compile_config(profile))


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_what_is_off_has_a_reason_and_what_has_a_reason_is_off(profile: Profile) -> None:
    off = {switch for feature in features.OFF for switch in feature.switches}
    if profile is COMPONENT:
        off -= {*features.COMPONENTS.switches, *features.MULTI_MEMORY.switches}
    run_settings = {"parallel_compilation", "wasm_branch_hinting"}  # off, and no proposal a module could use
    assert {name for name, value in profile.settings.items() if value is False} - run_settings == off


def test_every_feature_says_what_why_and_what_to_do() -> None:
    for feature in features.OFF:
        assert feature.title, feature
        assert len(feature.reason) > 20
        assert feature.fix.endswith(".")
    titles = [feature.title for feature in features.OFF]
    assert len(set(titles)) == len(titles)


def test_core_and_wasi_share_their_artifacts_and_components_have_their_own() -> None:
    assert fingerprint(CORE) == fingerprint(WASI)
    assert len({engine_fingerprint(), fingerprint(COMPONENT), fingerprint(CORE)}) == 3
    assert {profile_of(convention) for convention in Convention} == {CORE, WASI, COMPONENT}
    assert profile_of(Convention.WASI_COMMAND) is profile_of(Convention.WASI_REACTOR) is WASI
    assert profile_of(Convention.COMPONENT) is COMPONENT


def test_the_component_profile_compiles_a_component_and_the_core_profile_does_not() -> None:
    data = wat(COMPONENT_TEXT)
    engine = wasmtime.Engine(compile_config(COMPONENT))
    serialized = component.Component(engine, data).serialize()
    component.Component.deserialize(engine, serialized)
    core = wasmtime.Engine(compile_config())
    with pytest.raises(wasmtime.WasmtimeError):
        component.Component(core, data)
    with pytest.raises(wasmtime.WasmtimeError):
        component.Component.deserialize(core, serialized)


USES: dict[str, str] = {
    "wasm_threads": "(module (memory 1 1 shared))",
    "wasm_memory64": "(module (memory i64 1))",
    "wasm_multi_memory": "(module (memory 1) (memory 1))",
    "wasm_custom_page_sizes": "(module (memory 1 (pagesize 1)))",
    "wasm_gc": "(module (type (struct)))",
    "wasm_function_references": "(module (type $t (func)) (func (param (ref $t))))",
    "wasm_exceptions": "(module (tag))",
    "wasm_stack_switching": "(module (type $f (func)) (type (cont $f)))",
    "wasm_tail_call": "(module (func $f return_call $f))",
    "wasm_relaxed_simd": "(module (func (param v128) (drop (i32x4.relaxed_trunc_f32x4_s (local.get 0)))))",
    "wasm_wide_arithmetic": """(module (func (param i64 i64 i64 i64)
        (i64.add128 (local.get 0) (local.get 1) (local.get 2) (local.get 3)) drop drop))""",
}
# They build on one another.
NEEDED: dict[str, tuple[str, ...]] = {
    "wasm_threads": ("shared_memory",),
    "wasm_gc": ("wasm_function_references",),
    "wasm_stack_switching": ("wasm_function_references", "wasm_exceptions", "wasm_gc"),
}


@pytest.mark.parametrize("switch", USES)
def test_each_switch_alone_decides_about_its_proposal(switch: str) -> None:
    data = wat(USES[switch])
    with pytest.raises(wasmtime.WasmtimeError):
        wasmtime.Module(wasmtime.Engine(compile_config()), data)
    on: dict[str, Any] = {**CORE_SETTINGS, **dict.fromkeys((switch, *NEEDED.get(switch, ())), True)}
    wasmtime.Module.validate(wasmtime.Engine(compile_config(Profile("on", on, 1, 1, 4))), data)
