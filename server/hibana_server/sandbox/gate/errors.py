"""How the gate refuses bytes: each refusal carries the finding that tells why and what to do."""

from __future__ import annotations

from typing import ClassVar

from hibana_server.domain.modules import Finding, Severity
from hibana_server.sandbox.features import Feature


class Refused(Exception):
    """Base of the gate's refusals; nothing else leaves the gate."""

    reason: ClassVar[str]
    """Name of an `hibana.v1.ErrorReason` value without its prefix; the finding's code as well."""

    def __init__(self, text: str, fix: str) -> None:
        super().__init__(text)
        self.finding = Finding(Severity.ERROR, self.reason, text, fix)


class Malformed(Refused):
    """The bytes are no WebAssembly module."""

    reason = "MODULE_MALFORMED"

    def __init__(self, text: str, fix: str = "Build the module again and upload the file the linker wrote.") -> None:
        super().__init__(text, fix)


class LimitPassed(Refused):
    """The module is larger, in one way or another, than its tier allows; `where` says in which part."""

    reason = "MODULE_LIMIT"

    def __init__(self, limit: str, found: int, allowed: int, fix: str = "", *, where: str = "") -> None:
        fix = fix or "Make the module smaller, or ask an administrator to upload it as an admin module."
        place = f" ({where})" if where else ""
        super().__init__(f"{limit}: the module has {found}{place}, this tier allows {allowed}.", fix)


class FeatureUsed(Refused):
    """The module uses a WebAssembly proposal that is switched off."""

    reason = "FEATURE_DISABLED"

    def __init__(self, feature: Feature) -> None:
        super().__init__(f"The module uses {feature.title}, which is switched off here: {feature.reason}.", feature.fix)
