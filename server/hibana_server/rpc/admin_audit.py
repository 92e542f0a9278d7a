"""The audit log, as the Admin service tells it."""

from __future__ import annotations

from typing import Any

import grpc

from hibana.v1 import admin_pb2 as pb
from hibana_server.domain.audit import AuditFilter, Chained, Kind
from hibana_server.domain.errors import Invalid
from hibana_server.rpc.times import pack_time, unpack_time
from hibana_server.services.audit import AuditLog

Context = grpc.aio.ServicerContext[Any, Any]

KINDS = {
    Kind.CHANGE: pb.AUDIT_KIND_CHANGE,
    Kind.DENIAL: pb.AUDIT_KIND_DENIAL,
    Kind.READ: pb.AUDIT_KIND_READ,
}
_KINDS_OF = {value: kind for kind, value in KINDS.items()}


class AuditMethods:
    """The part of the Admin service that speaks of the audit log."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit

    async def ListAuditEntries(
        self, request: pb.ListAuditEntriesRequest, context: Context
    ) -> pb.ListAuditEntriesResponse:
        """Return a page of entries; that the caller is an admin is asked at the edge."""
        page = await self._audit.list_entries(
            unpack_filter(request), page_size=request.page_size, page_token=request.page_token
        )
        return pb.ListAuditEntriesResponse(
            entries=[pack_entry(each) for each in page.entries],
            next_page_token=page.next_page_token,
            total_size=page.total_size,
        )


def unpack_filter(request: pb.ListAuditEntriesRequest) -> AuditFilter:
    """Unpack what a checked request asks for. Raises Invalid for a place without its chain."""
    kind = _KINDS_OF.get(request.kind)
    after = request.after_sequence if request.HasField("after_sequence") else None
    if after is not None and kind is None:
        raise Invalid.field("after_sequence", "is a place in the chain of one kind; set kind as well")
    return AuditFilter(
        kind=kind,
        subject=request.subject,
        action=request.action,
        resource=request.resource,
        start_time=unpack_time(request.start_time) if request.HasField("start_time") else None,
        end_time=unpack_time(request.end_time) if request.HasField("end_time") else None,
        after_sequence=after,
    )


def pack_entry(chained: Chained) -> pb.AuditEntry:
    """Pack an entry."""
    entry = chained.entry
    return pb.AuditEntry(
        sequence=chained.sequence,
        time=pack_time(entry.time),
        subject=entry.subject,
        action=entry.action,
        resource=entry.resource,
        denied=entry.kind is Kind.DENIAL,
        before=entry.before,
        after=entry.after,
        request_id=entry.request_id,
        hash=chained.hash.hex(),
        kind=KINDS[entry.kind],
        role=entry.role,
        source=entry.source,
        peer=entry.peer,
        reference=entry.reference,
        reason=entry.reason,
        detail=entry.detail,
        count=entry.count,
        last_time=pack_time(entry.last_time) if entry.last_time else None,
    )
