"""Every request is judged by the table of rules before a servicer sees it."""

from __future__ import annotations

from google.protobuf.message import Message

from hibana.v1 import module_registry_pb2 as registry
from hibana_server.domain.errors import Invalid
from hibana_server.rpc.checks import violations
from hibana_server.rpc.rules import REQUEST_BYTES, RULES

_UPLOADS = (registry.CreateModuleRequest, registry.UploadModuleRequest)


def validate(request: Message, size: int) -> None:
    """Check a request that came as `size` bytes.

    Raises Invalid with every violation; a request message without rules is a defect (KeyError).
    """
    rules = RULES[type(request)]
    if size > REQUEST_BYTES + _OVERHEAD and not isinstance(request, _UPLOADS):
        raise Invalid(f"the request is larger than {REQUEST_BYTES} bytes", reason="INPUT_TOO_LARGE")
    found = violations(rules, request)
    if found:
        first = found[0]
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise Invalid(f"{first.field} {first.description}{more}", violations=found)


_OVERHEAD = 1024
"""Bytes for names and framing around 4 MiB of input."""
