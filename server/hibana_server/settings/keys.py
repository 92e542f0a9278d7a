"""Settings of API keys."""

from __future__ import annotations

from typing import Any

import msgspec

DAY = 86400.0


class KeysSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """API keys: credentials for machines, which callers make for themselves."""

    enabled: bool = True
    """Whether keys are made and taken. Switched off, those that exist are refused; they can be listed and revoked."""
    max_per_subject: int = 100
    """Keys one subject may hold at the same time; ended ones do not count."""
    default_ttl_seconds: float = 90 * DAY
    """Seconds a key lives that was made without saying how long; never longer than the next setting allows."""
    max_ttl_seconds: float = 365 * DAY
    """Seconds a key may live at most."""
    keep_seconds: float = 30 * DAY
    """Seconds a key is listed after it expired or was revoked, before it is removed."""
    made_by_keys: bool = False
    """Whether a caller that came with a key may make keys, none of a higher role or longer life than its own. Then who
    steals a key can outlive its revocation with others."""

    def rules(self) -> dict[str, Any]:
        """Return the fields of `domain.api_keys.KeyRules`."""
        return {
            "enabled": self.enabled,
            "most": self.max_per_subject,
            "default_ttl": min(self.default_ttl_seconds, self.max_ttl_seconds),
            "max_ttl": self.max_ttl_seconds,
            "made_by_keys": self.made_by_keys,
        }


def rules(keys: KeysSection) -> tuple[tuple[str, bool, str], ...]:
    """Return what each setting has to keep: its name, whether it does, what is accepted."""
    longest = 10 * 365 * DAY
    return (
        ("keys.max_per_subject", 1 <= keys.max_per_subject <= 100_000, "1 to 100000"),
        ("keys.max_ttl_seconds", 1 <= keys.max_ttl_seconds <= longest, "1 to 315360000 (10 years)"),
        ("keys.default_ttl_seconds", 1 <= keys.default_ttl_seconds <= longest, "1 to 315360000"),
        ("keys.keep_seconds", 0 <= keys.keep_seconds <= 10 * longest, "0 to 100 years"),
    )
