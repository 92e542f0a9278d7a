"""Where the service is and who calls: arguments, environment, profile file.

Arguments win (address and token first, then a profile named by argument), then HIBANA_ADDRESS and
HIBANA_TOKEN, then the profile named by HIBANA_PROFILE or `default_profile` (`hibana.profiles`).
What a profile says, its token above all, holds for that profile's address only: with another
address, the token must be given with it.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hibana import profiles
from hibana.errors import ConfigError
from hibana.tokens import Token, TokenFile, checked_token

DEFAULT_ADDRESS = "127.0.0.1:50051"


@dataclass(frozen=True, slots=True)
class Settings:
    """How to reach the service."""

    target: str
    """`host:port` or `unix:/path`, as gRPC takes it."""
    tls: bool
    token: Token = field(repr=False)
    """Bearer token, or where it comes from; empty sends none."""
    ca_file: str
    """Root certificates, PEM; empty means the system's."""
    cert_file: str = ""
    """This client's certificate for mutual TLS, PEM; empty shows none."""
    key_file: str = ""
    """The key of that certificate, PEM."""
    server_name: str = ""
    """Name that the server's certificate must hold; empty means the host of the address."""


def load(  # noqa: PLR0913 - a keyword for each thing that can be set
    *,
    address: str | None = None,
    token: Token | None = None,
    profile: str | None = None,
    tls: bool | None = None,
    insecure: bool | None = None,
    ca_file: str | None = None,
    cert_file: str | None = None,
    key_file: str | None = None,
    server_name: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Gather the settings. Raises ConfigError with what to do next."""
    environ = os.environ if environ is None else environ
    # A profile named by argument wins over the environment, like any argument.
    given = address or ("" if profile else environ.get("HIBANA_ADDRESS", ""))
    chosen = _profile(profile or environ.get("HIBANA_PROFILE") or "", environ)
    own_address = not given or given == chosen.get("address")
    # Everything a profile says holds for its own address alone.
    settings = chosen if own_address else {}
    told = {
        "address": given or settings.get("address", ""),
        "tls": tls or settings.get("tls", False),
        "insecure": settings.get("insecure", False) if insecure is None else insecure,
        "ca_file": ca_file or settings.get("ca_file", ""),
        "cert_file": cert_file or settings.get("cert_file", ""),
        "key_file": key_file or settings.get("key_file", ""),
        "server_name": server_name or settings.get("server_name", ""),
    }
    return _build(told, _token(token, settings, environ.get("HIBANA_TOKEN", ""), profile_first=bool(profile)))


def of_profile(profile: Mapping[str, Any]) -> Settings:
    """Return what a profile says on its own. Raises ConfigError where it could not be used."""
    return _build(profile, _profile_token(profile))


def _build(told: Mapping[str, Any], token: Token) -> Settings:
    files = {name: str(told.get(name, "")) for name in ("ca_file", "cert_file", "key_file", "server_name")}
    target, secure = parse_address(told.get("address") or DEFAULT_ADDRESS, told.get("tls", False))
    _check_files(files, target, secure=secure)
    if token and not secure and not told.get("insecure") and not is_loopback(target):
        raise ConfigError(
            f"refusing to send the token to {target} in clear text",
            next_step="use an https:// address, or pass --insecure (insecure=True) on a network you trust",
        )
    return Settings(target=target, tls=secure, token=token, **files)


def _check_files(files: Mapping[str, str], target: str, *, secure: bool) -> None:
    if bool(files["cert_file"]) != bool(files["key_file"]):
        raise ConfigError("a client certificate needs its key", next_step="give cert_file and key_file together")
    given = [name for name, value in files.items() if value]
    if given and not secure:
        raise ConfigError(
            f"{given[0]} is given, but {target} is spoken to in clear text",
            next_step=f"write the address as https://{target}",
        )


def _token(given: Token | None, settings: Mapping[str, Any], of_environment: str, *, profile_first: bool) -> Token:
    """Choose the token: argument, then environment and profile (the other way round for a profile by argument)."""
    if callable(given):
        return given
    if given:
        return checked_token(given)
    of_profile = _profile_token(settings)
    if of_environment and not (profile_first and of_profile):
        return checked_token(of_environment)
    return of_profile


def parse_address(address: str, tls: bool) -> tuple[str, bool]:  # noqa: FBT001 - the second half of the answer
    """Return (gRPC target, whether to use TLS) for `host:port`, `http(s)://host[:port]` or `unix:/path`."""
    text = address.strip()
    wrong = ConfigError(f"{address!r} is not an address", next_step="write host:port, https://host:port or unix:/path")
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path:
            raise wrong
        return f"unix:{path}", tls
    default_port = ""
    scheme, separator, rest = text.partition("://")
    if separator:
        if scheme not in {"http", "https"}:
            raise wrong
        if scheme == "http" and tls:
            raise ConfigError(f"{address!r} asks for clear text, tls for encryption", next_step="drop one of the two")
        tls = tls or scheme == "https"
        default_port = "443" if scheme == "https" else "80"
        text = rest.removesuffix("/")
    host, port = _split_host(text)
    port = port or default_port
    bad_host = not host or any(c in "/@?#, " or not c.isprintable() for c in host)
    if bad_host or not (port.isascii() and port.isdecimal()) or not 0 < int(port) < 65536:
        raise wrong
    return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}"), tls


def _split_host(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, rest.removeprefix(":")
    host, _, port = text.rpartition(":")
    return (host, port) if host else (text, "")


def is_loopback(target: str) -> bool:
    """Tell whether a gRPC target never leaves this machine."""
    if target.startswith("unix:"):
        return True
    host, _ = _split_host(target)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _profile(name: str, environ: Mapping[str, str]) -> Mapping[str, Any]:
    found = profiles.read(environ)
    if found is None:
        if name:
            raise ConfigError(
                f"profile {name!r} is asked for, but there is no {profiles.profile_path(environ)}",
                next_step=f"make it: hibana profiles set {name} --address HOST:PORT",
            )
        return {}
    return found.get(name)


def _profile_token(profile: Mapping[str, Any]) -> Token:
    if profile.get("token"):
        return checked_token(profile["token"])
    if not profile.get("token_file"):
        return ""
    file = TokenFile(profile["token_file"])
    file()  # a file that is missing is told now, not at the first call
    return file
