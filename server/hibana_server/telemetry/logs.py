"""Structured logs on stderr. Lines written while a call is served carry its request id and caller."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any

import msgspec
import structlog

Event = MutableMapping[str, Any]

CALL_FIELDS: ContextVar[dict[str, str] | None] = ContextVar("hibana_call_fields", default=None)
"""Fields of the call that is being served, set by the edge."""

_encoder = msgspec.json.Encoder(enc_hook=str)


def configure(level: str = "info", format: str = "auto") -> None:  # noqa: A002 - the name of the setting
    """Set up structlog and route the standard library's loggers of dependencies through stderr at warning."""
    text = format == "text" or (format == "auto" and sys.stderr.isatty())
    threshold = getattr(logging, level.upper())
    shared: list[Any] = [
        _add_call_fields,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if text:
        renderer: Any = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        factory: Any = structlog.PrintLoggerFactory(sys.stderr)
    else:
        # Without local variables: tokens and callers' data must not get into logs.
        frames = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        shared.append(structlog.processors.ExceptionRenderer(frames))
        renderer = _render_json
        factory = structlog.BytesLoggerFactory(sys.stderr.buffer)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        stream=sys.stderr, level=max(threshold, logging.WARNING), format="%(levelname)s %(name)s %(message)s"
    )


def _add_call_fields(_logger: Any, _method: str, event: Event) -> Event:
    fields = CALL_FIELDS.get()
    if fields is not None:
        for key, value in fields.items():
            event.setdefault(key, value)
    return event


def _render_json(_logger: Any, _method: str, event: Event) -> bytes:
    try:
        return _encoder.encode(event)
    except UnicodeEncodeError:
        # A lone surrogate, as in a file name that is not UTF-8; the line matters more than speed.
        return json.dumps(event, default=str, skipkeys=True).encode()
