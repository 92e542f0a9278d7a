"""What artifacts and descriptions are named after."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.sandbox import artifact_keys, engine_settings
from hibana_server.sandbox.artifact_keys import artifact_key, judgement_digest

USER = DEFAULT_POLICIES[Tier.USER]


def fresh_key(sha256: str = "a") -> str:
    engine_settings.engine_fingerprint.cache_clear()
    try:
        return artifact_key(sha256)
    finally:
        engine_settings.engine_fingerprint.cache_clear()


def test_key_names_the_bytes() -> None:
    assert fresh_key("a") == fresh_key("a") != fresh_key("b")
    assert len(fresh_key()) == 64


def test_key_changes_with_engine_settings_and_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {fresh_key()}
    with monkeypatch.context() as patch:
        patch.setattr(engine_settings, "version", lambda _: "51.0.0")
        keys.add(fresh_key())
    with monkeypatch.context() as patch:
        patch.setitem(engine_settings.CORE_SETTINGS, "wasm_simd", False)
        keys.add(fresh_key())
    with monkeypatch.context() as patch:
        patch.setattr(engine_settings, "_cpu_features", lambda: {"sse2"})
        keys.add(fresh_key())
    assert len(keys) == 4


def test_processor_features_are_known_here() -> None:
    assert len(engine_settings._cpu_features()) > 3


def test_judgement_depends_on_tier_and_policy() -> None:
    digests = {
        judgement_digest(Tier.USER, USER),
        judgement_digest(Tier.ADMIN, USER),
        judgement_digest(Tier.USER, replace(USER, host_functions=frozenset())),
        judgement_digest(Tier.USER, replace(USER, memory_bytes=1 << 20)),
        judgement_digest(Tier.USER, replace(USER, wasm_bytes=1 << 20)),
        judgement_digest(Tier.USER, replace(USER, static=replace(USER.static, nesting=1))),
    }
    assert len(digests) == 6
    assert judgement_digest(Tier.USER, replace(USER, output_bytes=1)) in digests


def test_judgement_depends_on_the_rules_text() -> None:
    assert len(artifact_keys._rules()) == 64
