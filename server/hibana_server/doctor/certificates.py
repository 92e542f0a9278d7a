"""Files of TLS: whether they can be read, fit together, and for how long they hold."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from pathlib import Path

from hibana_server.auth.certificates import first_end
from hibana_server.doctor.check import Check, State
from hibana_server.domain.errors import Invalid
from hibana_server.rpc.tls import TlsFiles
from hibana_server.settings.model import Settings

SOON = dt.timedelta(days=14)
"""Time before its end at which a certificate should have been renewed."""


def examine_certificates(settings: Settings) -> Iterator[Check]:
    """Read the files that the settings name; nothing where they name none. Raises OSError."""
    tls = settings.tls
    if not (tls.certificate or tls.key or tls.client_ca):
        return
    if not (tls.certificate and tls.key):
        detail = "tls.certificate and tls.key belong together, and tls.client_ca to both"
        yield Check("tls", State.FAIL, detail, "Set both, or none of the three.")
        return
    files = TlsFiles(Path(tls.certificate), Path(tls.key), Path(tls.client_ca) if tls.client_ca else None)
    try:
        files.read()
    except Invalid as error:
        fix = "Name a certificate and its own key, in PEM, readable by the server's user."
        yield Check("tls", State.FAIL, error.message, fix)
        return
    yield Check("tls", State.OK, "the files can be read and fit together")
    now = dt.datetime.now(dt.UTC)
    for name, file in (("certificate", tls.certificate), ("client_ca", tls.client_ca)):
        if file:
            yield judge_end(name, first_end(Path(file).read_bytes()), now)


def judge_end(name: str, end: dt.datetime, now: dt.datetime) -> Check:
    """Judge when a certificate ends."""
    title, left = f"tls {name}", end - now
    days = math.floor(left / dt.timedelta(days=1))
    told = f"holds until {end:%Y-%m-%d %H:%M} UTC, {days} days"
    renew = "Renew it; a running server takes the new file by itself."
    if left <= dt.timedelta(0):
        return Check(title, State.FAIL, f"ended {end:%Y-%m-%d %H:%M} UTC", renew)
    if left < SOON:
        return Check(title, State.WARN, told, renew)
    return Check(title, State.OK, told)
