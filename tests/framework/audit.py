"""Reading the audit log as an admin."""

from __future__ import annotations

import json
from typing import Any

from hibana.v1 import admin_pb2 as pb
from tests.framework.stubs import Stubs

CHANGE, DENIAL, READ = pb.AUDIT_KIND_CHANGE, pb.AUDIT_KIND_DENIAL, pb.AUDIT_KIND_READ


async def entries(admin: Stubs, **where: Any) -> list[pb.AuditEntry]:
    """Return all entries that match, newest first."""
    request = pb.ListAuditEntriesRequest(page_size=500, **where)
    found: list[pb.AuditEntry] = []
    while True:
        answer = await admin.admin.ListAuditEntries(request)
        found += answer.entries
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token


def fields(text: str) -> dict[str, Any]:
    """Read the fields before or after a change."""
    return dict(json.loads(text)) if text else {}
