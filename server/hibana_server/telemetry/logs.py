"""Structured logs on stderr. Lines written while a call is served carry its request id and caller."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import msgspec
import structlog

Event = MutableMapping[str, Any]

CallFields = Callable[[], Mapping[str, str] | None]

_encoder = msgspec.json.Encoder(enc_hook=str)


def configure(level: str, format: str, call_fields: CallFields) -> None:  # noqa: A002 - the name of the setting
    """Set up structlog and route the standard library's loggers of dependencies through stderr at warning.

    `call_fields` tells what every line carries that is written while a call is served.
    """

    def add_call_fields(_logger: Any, _method: str, event: Event) -> Event:
        for key, value in (call_fields() or {}).items():
            event.setdefault(key, value)
        return event

    text = format == "text" or (format == "auto" and sys.stderr.isatty())
    threshold = getattr(logging, level.upper())
    shared: list[Any] = [
        add_call_fields,
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


def _render_json(_logger: Any, _method: str, event: Event) -> bytes:
    try:
        return _encoder.encode(event)
    except UnicodeEncodeError:
        # A lone surrogate, as in a file name that is not UTF-8; the line matters more than speed.
        return json.dumps(event, default=str, skipkeys=True).encode()
