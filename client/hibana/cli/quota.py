"""`hibana quota`: what one may use and uses, and what admins set for single callers."""

from __future__ import annotations

from typing import Annotated

import typer

import hibana
from hibana.cli import options, output
from hibana.cli.command import command
from hibana.cli.inputs import byte_size, duration
from hibana.cli.session import Session
from hibana.cli.take import page_size, take
from hibana.cli.text import seconds, size

quota = typer.Typer(no_args_is_help=True, help="See what you may use and use; as an admin, set it for others.")

SET_EXAMPLES = """Examples:

hibana quota set alice --requests-per-minute 600 --cpu-per-minute 30s

hibana quota set alice --cpu-per-minute default

hibana quota set alice --defaults
"""
_DEFAULT = "default"
_NONE = "no bound"


@quota.command("show", epilog="Example: hibana quota show")
@command
async def show_command(
    session: Session,
    subject: Annotated[str, typer.Argument(metavar="[USER]", help="Somebody else, for admins.")] = "",
) -> None:
    """Show what you may use, and what you use of it."""
    report = await session.client.quota(subject)
    if session.as_json:
        output.print_json(report)
        return
    quota_, usage = report.quota, report.usage
    output.print_fields([("subject", quota_.subject), ("role", report.role)])
    rows = [
        ("modules", str(usage.modules), _count(quota_.max_modules), _from(report, "max_modules")),
        ("bytes", size(usage.total_bytes), _size(quota_.max_total_bytes), _from(report, "max_total_bytes")),
        (
            "versions of a module",
            "",
            _count(quota_.max_versions_per_module),
            _from(report, "max_versions_per_module"),
        ),
        (
            "requests in a minute",
            str(usage.requests_last_minute),
            _count(quota_.max_requests_per_minute),
            _from(report, "max_requests_per_minute"),
        ),
        (
            "CPU time in a minute",
            seconds(usage.cpu_last_minute),
            _seconds(quota_.max_cpu_per_minute),
            _from(report, "max_cpu_per_minute"),
        ),
        (
            "executions at once",
            str(usage.concurrent_executions),
            _count(quota_.max_concurrent_executions),
            _from(report, "max_concurrent_executions"),
        ),
    ]
    output.print_table("quota", ("", "used", "at most", "set by"), rows)


@quota.command("set", epilog=SET_EXAMPLES)
@command
async def set_command(
    session: Session,
    subject: Annotated[str, typer.Argument(metavar="USER", help="Whose quota.")],
    *,
    modules: Annotated[str | None, typer.Option("--modules", help="Modules to own.")] = None,
    total: Annotated[str | None, typer.Option("--bytes", help="Bytes of all versions, e.g. 2GiB.")] = None,
    versions: Annotated[str | None, typer.Option("--versions", help="Versions of one module.")] = None,
    requests: Annotated[str | None, typer.Option("--requests-per-minute", help="Calls within a minute.")] = None,
    cpu: Annotated[str | None, typer.Option("--cpu-per-minute", help="CPU time within a minute, e.g. 30s.")] = None,
    concurrent: Annotated[str | None, typer.Option("--concurrent", help="Executions at the same time.")] = None,
    defaults: Annotated[bool, typer.Option("--defaults", help="Take all exceptions back.")] = False,
) -> None:
    """Set what a caller may use, as an admin. `default` takes one back; what you do not name stays as it is.

    It holds at once, for calls that begin from then on.
    """
    given = (modules, total, versions, requests, cpu, concurrent)
    if defaults == any(each is not None for each in given):
        raise typer.BadParameter("say what to set: --modules, --bytes, --requests-per-minute ...; or --defaults alone")
    now = await session.client.set_quota(
        subject,
        max_modules=_number(modules),
        max_total_bytes=0 if total == _DEFAULT else byte_size(total),
        max_versions_per_module=_number(versions),
        max_requests_per_minute=_number(requests),
        max_cpu_per_minute=0.0 if cpu == _DEFAULT else duration(cpu),
        max_concurrent_executions=_number(concurrent),
    )
    if session.as_json:
        output.print_json(now)
    else:
        output.print_fields(_fields(now))


@quota.command("list", epilog="Example: hibana quota list --json")
@command
async def list_command(session: Session, *, limit: options.Limit = 50) -> None:
    """List what admins set for single callers. For admins."""
    items, total = await take(session.client.quotas(page_size=page_size(limit)), limit)
    if session.as_json:
        output.print_json({"items": items, "total_size": total})
        return
    rows = [tuple(value for _, value in _fields(each, unset="-")) for each in items]
    columns = tuple(name for name, _ in _fields(hibana.Quota("")))
    output.print_table(f"{len(rows)} of {total} exceptions", columns, rows)


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if text == _DEFAULT:
        return 0
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 2**62:
        raise typer.BadParameter(f"{text!r} is no number of 1 or more; or write {_DEFAULT}")
    return int(text)


def _from(report: hibana.QuotaReport, field: str) -> str:
    return "an admin" if getattr(report.exception, field) is not None else f"the default of {report.role}"


def _fields(quota_: hibana.Quota, unset: str = _NONE) -> list[tuple[str, str]]:
    return [
        ("subject", quota_.subject),
        ("modules", _count(quota_.max_modules, unset)),
        ("bytes", _size(quota_.max_total_bytes, unset)),
        ("versions of a module", _count(quota_.max_versions_per_module, unset)),
        ("requests in a minute", _count(quota_.max_requests_per_minute, unset)),
        ("CPU time in a minute", _seconds(quota_.max_cpu_per_minute, unset)),
        ("executions at once", _count(quota_.max_concurrent_executions, unset)),
    ]


def _count(value: int | None, unset: str = _NONE) -> str:
    return unset if value is None else str(value)


def _size(value: int | None, unset: str = _NONE) -> str:
    return unset if value is None else size(value)


def _seconds(value: float | None, unset: str = _NONE) -> str:
    return unset if value is None else seconds(value)
