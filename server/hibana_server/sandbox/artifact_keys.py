"""What an artifact and its description depend on, as digests."""

from __future__ import annotations

import hashlib
from dataclasses import astuple
from functools import cache
from pathlib import Path

from hibana_server.domain.tiers import Tier, TierPolicy
from hibana_server.sandbox.engine_settings import engine_fingerprint

_RULES = ("imports.py", "features.py", "interfaces.py", "gate", "shapes", "compiler")


def artifact_key(sha256: str) -> str:
    """Return the key (hex) of a module compiled by this engine, with these settings, for this CPU."""
    return hashlib.sha256(f"{sha256}\0{engine_fingerprint()}".encode()).hexdigest()


def judgement_digest(tier: Tier, policy: TierPolicy) -> bytes:
    """Return the digest of everything a description depends on besides the bytes: tier, policy and the gate's rules."""
    granted = ",".join(sorted(policy.host_functions))
    numbers = (policy.memory_bytes, policy.wasm_bytes, policy.compile_seconds, astuple(policy.static))
    return hashlib.sha256(f"{tier.value}\0{granted}\0{numbers}\0{_rules()}".encode()).digest()


@cache
def _rules() -> str:
    # The rules' own text, since a revision number is easily forgotten. Compiled modules stay valid either way.
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for part in _RULES:
        for path in sorted((here / part).glob("*.py")) or [here / part]:
            digest.update(path.read_bytes())
    return digest.hexdigest()
