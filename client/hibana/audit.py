"""What a client does with the audit log."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from hibana import convert
from hibana.audit_types import AuditEntry, AuditKind
from hibana.connection import Connection
from hibana.listing import Listing, Page, next_page
from hibana.v1 import admin_pb2

_KINDS = convert.enum_values(admin_pb2.AuditKind.DESCRIPTOR, AuditKind, "AUDIT_KIND_")


class AuditCalls:
    """The part of the client that speaks of the audit log. For admins."""

    _connection: Connection

    def audit_entries(
        self,
        *,
        kind: AuditKind | str | None = None,
        subject: str = "",
        action: str = "",
        resource: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        after_sequence: int | None = None,
        page_size: int = 0,
        timeout: float | None = None,
    ) -> Listing[AuditEntry]:
        """List entries that match all filters, newest first.

        `action`: `module.publish`, or `module.*` for all that begin so. `resource`: with all beneath it. With
        `after_sequence` what comes behind this place in the chain of `kind`, oldest first: 0 is the beginning.
        `timeout`: seconds for each page.
        """
        request = admin_pb2.ListAuditEntriesRequest(
            page_size=page_size,
            kind=cast(
                "admin_pb2.AuditKind.ValueType",
                convert.enum_number(admin_pb2.AuditKind.DESCRIPTOR, "AUDIT_KIND_", kind),
            ),
            subject=subject,
            action=action,
            resource=resource,
            start_time=convert.timestamp(since),
            end_time=convert.timestamp(until),
            after_sequence=after_sequence,
        )
        connection = self._connection

        async def fetch(token: str) -> Page[AuditEntry]:
            asked = next_page(request, token)
            answer = await connection.unary(connection.admin.ListAuditEntries, asked, timeout=timeout)
            return Page(tuple(map(_entry, answer.entries)), answer.next_page_token, answer.total_size)

        return Listing(fetch)


def _entry(m: admin_pb2.AuditEntry) -> AuditEntry:
    return AuditEntry(
        kind=_KINDS.get(m.kind, AuditKind.UNKNOWN),
        sequence=m.sequence,
        time=convert.time(m.time),
        subject=m.subject,
        role=m.role,
        source=m.source,
        peer=m.peer,
        action=m.action,
        resource=m.resource,
        reference=m.reference,
        denied=m.denied,
        reason=m.reason,
        detail=m.detail,
        before=_fields(m.before),
        after=_fields(m.after),
        request_id=m.request_id,
        count=m.count,
        last_time=convert.time(m.last_time) if m.HasField("last_time") else None,
        hash=m.hash,
    )


def _fields(text: str) -> Mapping[str, Any] | None:
    if not text:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        found = text
    return found if isinstance(found, dict) else {"text": found}
