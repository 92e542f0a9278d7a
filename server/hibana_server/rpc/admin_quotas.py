"""Quotas, as the Admin service tells and sets them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import grpc

from hibana.v1 import admin_pb2 as pb
from hibana_server.domain.errors import Invalid
from hibana_server.domain.quotas import NO_EXCEPTION, Quota
from hibana_server.rpc.calls import current_caller
from hibana_server.rpc.times import pack_seconds, unpack_seconds
from hibana_server.services.quotas import Quotas

Context = grpc.aio.ServicerContext[Any, Any]

FIELDS = (
    "max_modules",
    "max_total_bytes",
    "max_versions_per_module",
    "max_requests_per_minute",
    "max_cpu_per_minute",
    "max_concurrent_executions",
)
_CPU = "max_cpu_per_minute"


class QuotaMethods:
    """The part of the Admin service that speaks of quotas."""

    def __init__(self, quotas: Quotas) -> None:
        self._quotas = quotas

    async def GetQuota(self, request: pb.GetQuotaRequest, context: Context) -> pb.GetQuotaResponse:
        """Return a quota with its usage."""
        report = await self._quotas.report(current_caller(), request.subject)
        usage = report.usage
        return pb.GetQuotaResponse(
            quota=pack_quota(report.subject, report.quota),
            usage=pb.QuotaUsage(
                modules=usage.stored.modules,
                total_bytes=usage.stored.total_bytes,
                requests_last_minute=usage.requests,
                cpu_last_minute=pack_seconds(usage.cpu),
                concurrent_executions=usage.executions,
            ),
            role=report.role,
            exception=pack_quota(report.subject, report.exception),
        )

    async def UpdateQuota(self, request: pb.UpdateQuotaRequest, context: Context) -> pb.UpdateQuotaResponse:
        """Set a subject's exception."""
        caller = current_caller()
        report = await self._quotas.change(caller, request.quota.subject or caller.subject, unpack_change(request))
        return pb.UpdateQuotaResponse(quota=pack_quota(report.subject, report.quota))

    async def ListQuotas(self, request: pb.ListQuotasRequest, context: Context) -> pb.ListQuotasResponse:
        """Return a page of exceptions."""
        page = await self._quotas.list_exceptions(
            current_caller(), page_size=request.page_size, page_token=request.page_token
        )
        return pb.ListQuotasResponse(
            quotas=[pack_quota(each.subject, each.quota) for each in page.exceptions],
            next_page_token=page.next_page_token,
            total_size=page.total_size,
        )


def pack_quota(subject: str, quota: Quota) -> pb.Quota:
    """Pack a quota; what has no bound is 0."""
    return pb.Quota(
        subject=subject,
        max_modules=quota.max_modules or 0,
        max_total_bytes=quota.max_total_bytes or 0,
        max_versions_per_module=quota.max_versions_per_module or 0,
        max_requests_per_minute=quota.max_requests_per_minute or 0,
        max_cpu_per_minute=None if quota.max_cpu_per_minute is None else pack_seconds(quota.max_cpu_per_minute),
        max_concurrent_executions=quota.max_concurrent_executions or 0,
    )


def unpack_change(request: pb.UpdateQuotaRequest) -> Callable[[Quota], Quota]:
    """Unpack what a checked UpdateQuota request makes of an exception. Raises Invalid for a wrong mask."""
    paths = set(request.update_mask.paths)
    if unknown := sorted(paths - {*FIELDS, "*"}):
        raise Invalid.field("update_mask", f"names {len(unknown)} fields of no quota; it takes {', '.join(FIELDS)}")
    named = FIELDS if not paths or "*" in paths else sorted(paths)
    given = request.quota
    values: dict[str, Any] = {name: getattr(given, name) or None for name in named if name != _CPU}
    if _CPU in named:
        values[_CPU] = unpack_seconds(given.max_cpu_per_minute) or None
    return lambda before: replace(before if paths else NO_EXCEPTION, **values)
