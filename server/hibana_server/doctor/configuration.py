"""What the settings ask for: addresses, plain text, and whether the machine has what they promise away."""

from __future__ import annotations

import os
from collections.abc import Iterator

from hibana_server.doctor.check import Check, State, spelled
from hibana_server.settings.addresses import Address, parse_address, reachable_in_clear
from hibana_server.settings.model import Settings
from hibana_server.telemetry.traces import INSTALL, export_installed

_TLS = "Set tls.certificate and tls.key, or listen on a loopback address."


def examine_settings(settings: Settings) -> Iterator[Check]:
    """Judge settings that loaded."""
    yield Check("settings", State.OK, "every name is known and every value in range")
    found: dict[str, Address] = {}
    for name, text in (("listen", settings.listen), ("http", settings.http)):
        if name == "http" and text == "off":
            continue
        try:
            found[name] = parse_address(text)
        except ValueError as error:
            yield Check(f"settings {name}", State.FAIL, str(error), f"Set {name} to HOST:PORT.")
    clear = reachable_in_clear(found.get("listen"), found.get("http"), tls=bool(settings.tls.certificate))
    yield from _plain_text(clear, allowed=settings.allow_plaintext)
    yield from _traces(settings.otel.endpoint)
    yield _memory(settings.pool.memory_budget, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _plain_text(clear: list[Address], *, allowed: bool) -> Iterator[Check]:
    where = ", ".join(map(str, clear))
    if clear and not allowed:
        detail = f"{where}: reachable from other machines, in clear text"
        yield Check("settings plain text", State.FAIL, detail, f"{_TLS} Or allow_plaintext behind a proxy with TLS.")
    elif clear:
        detail = f"allow_plaintext: tokens and data travel to {where} in clear text"
        yield Check("settings plain text", State.WARN, detail, f"Let only a proxy with TLS reach it. {_TLS}")


def _traces(endpoint: str) -> Iterator[Check]:
    if endpoint and not export_installed():
        detail = "otel.endpoint is set, and the packages that export traces are not installed"
        yield Check("settings otel", State.FAIL, detail, f"{INSTALL}, or leave otel.endpoint empty.")


def _memory(budget: int, machine: int) -> Check:
    if budget > machine:
        detail = f"pool.memory_budget is {spelled(budget)}; this machine has {spelled(machine)}"
        return Check("settings memory", State.WARN, detail, "Lower pool.memory_budget, or leave it at 0.")
    return Check("settings memory", State.OK, f"{spelled(budget or machine // 2)} for guests, of {spelled(machine)}")
