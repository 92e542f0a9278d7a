"""What one line of `hibana audit list` says of an entry."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

import hibana
from hibana.cli.audit import what


def entry(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, resource: str = "modules/1", detail: str = ""
) -> hibana.AuditEntry:
    return hibana.AuditEntry(
        kind=hibana.AuditKind.CHANGE,
        sequence=1,
        time=datetime(2026, 1, 1, tzinfo=UTC),
        subject="",
        role="",
        source="service",
        peer="",
        action="",
        resource=resource,
        reference="",
        denied=False,
        reason="",
        detail=detail,
        before=before,
        after=after,
        request_id="",
        count=1,
        last_time=None,
        hash="",
    )


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (entry(None, {"is_public": True}), "new"),
        (entry({"is_public": True}, None), "gone"),
        (entry({"is_public": True}, {"is_public": False}), "is_public: true -> false"),
        (entry(None, None), ""),
        (entry(None, None, detail="it belongs to bob"), "it belongs to bob"),
        (
            entry({"records": {"user": 15}, "bytes": 641319}, None, "executions"),
            'gone: records {"user": 15}, bytes 641319',
        ),
        (entry({"entries": {"denial": 500}}, None, "audit"), 'gone: entries {"denial": 500}'),
    ],
)
def test_what_an_entry_says_in_a_line(told: hibana.AuditEntry, line: str) -> None:
    assert what(told) == line
