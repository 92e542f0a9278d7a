"""What a client does with quotas."""

from __future__ import annotations

from hibana.connection import Connection
from hibana.convert import duration, seconds
from hibana.listing import Listing, Page, next_page
from hibana.quota_types import Quota, QuotaReport, QuotaUsage
from hibana.v1 import admin_pb2


class QuotaCalls:
    """The part of the client that speaks of quotas."""

    _connection: Connection

    async def quota(self, subject: str = "", *, timeout: float | None = None) -> QuotaReport:
        """Return what one may use and uses; of another subject for admins."""
        connection = self._connection
        request = admin_pb2.GetQuotaRequest(subject=subject)
        answer = await connection.unary(connection.admin.GetQuota, request, timeout=timeout)
        usage = answer.usage
        return QuotaReport(
            quota=_quota(answer.quota),
            usage=QuotaUsage(
                modules=usage.modules,
                total_bytes=usage.total_bytes,
                requests_last_minute=usage.requests_last_minute,
                cpu_last_minute=seconds(usage.cpu_last_minute),
                concurrent_executions=usage.concurrent_executions,
            ),
            role=answer.role,
            exception=_quota(answer.exception),
        )

    async def set_quota(
        self,
        subject: str,
        *,
        max_modules: int | None = None,
        max_total_bytes: int | None = None,
        max_versions_per_module: int | None = None,
        max_requests_per_minute: int | None = None,
        max_cpu_per_minute: float | None = None,
        max_concurrent_executions: int | None = None,
        timeout: float | None = None,
    ) -> Quota:
        """Set what a subject may use, as an admin, and return what holds now.

        What is not given stays as it is; 0 takes an exception back, so that the default of the subject's role
        holds. Without anything given, all exceptions of the subject are taken back. CPU time in seconds.
        """
        given = {
            "max_modules": max_modules,
            "max_total_bytes": max_total_bytes,
            "max_versions_per_module": max_versions_per_module,
            "max_requests_per_minute": max_requests_per_minute,
            "max_concurrent_executions": max_concurrent_executions,
        }
        named = {name: value for name, value in given.items() if value is not None}
        request = admin_pb2.UpdateQuotaRequest(quota=admin_pb2.Quota(subject=subject))
        for name, value in named.items():
            setattr(request.quota, name, value)
        request.update_mask.paths.extend(named)
        if max_cpu_per_minute is not None:
            request.quota.max_cpu_per_minute.CopyFrom(duration(max_cpu_per_minute))
            request.update_mask.paths.append("max_cpu_per_minute")
        connection = self._connection
        answer = await connection.unary(connection.admin.UpdateQuota, request, timeout=timeout)
        return _quota(answer.quota)

    def quotas(self, *, page_size: int = 0, timeout: float | None = None) -> Listing[Quota]:
        """List what admins set for single subjects, by subject. For admins."""
        request = admin_pb2.ListQuotasRequest(page_size=page_size)
        connection = self._connection

        async def fetch(token: str) -> Page[Quota]:
            asked = next_page(request, token)
            answer = await connection.unary(connection.admin.ListQuotas, asked, timeout=timeout)
            return Page(tuple(map(_quota, answer.quotas)), answer.next_page_token, answer.total_size)

        return Listing(fetch)


def _quota(m: admin_pb2.Quota) -> Quota:
    return Quota(
        subject=m.subject,
        max_modules=m.max_modules or None,
        max_total_bytes=m.max_total_bytes or None,
        max_versions_per_module=m.max_versions_per_module or None,
        max_requests_per_minute=m.max_requests_per_minute or None,
        max_cpu_per_minute=seconds(m.max_cpu_per_minute) if m.HasField("max_cpu_per_minute") else None,
        max_concurrent_executions=m.max_concurrent_executions or None,
    )
