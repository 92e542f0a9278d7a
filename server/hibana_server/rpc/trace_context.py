"""The caller's place in a distributed trace: the metadata `traceparent` of W3C Trace Context."""

from __future__ import annotations

import re

from hibana_server.telemetry.traces import Parent

_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?\Z",
    re.ASCII,
)
_FORBIDDEN_VERSION = "ff"
_FIRST_VERSION = "00"
_SAMPLED = 1
_MOST = 512
"""Characters looked at; a later version may append fields, and nobody needs more of them."""


def parse(traceparent: str) -> Parent | None:
    """Return the caller's span; None where the text is no traceparent."""
    match = _TRACEPARENT.match(traceparent) if len(traceparent) <= _MOST else None
    if match is None or match["version"] == _FORBIDDEN_VERSION:
        return None
    if match["version"] == _FIRST_VERSION and match["more"] is not None:
        return None
    trace, span = match["trace"], match["span"]
    if not int(trace, 16) or not int(span, 16):
        return None
    return Parent(trace, span, sampled=bool(int(match["flags"], 16) & _SAMPLED))


def trace_fields(traceparent: str) -> dict[str, str]:
    """Return `trace_id` and `span_id` (the caller's span), hex; nothing where the text is no traceparent."""
    parent = parse(traceparent)
    return {} if parent is None else {"trace_id": parent.trace_id, "span_id": parent.span_id}
