"""Where the service is and who calls: arguments, environment, profile file.

The profile file is `$XDG_CONFIG_HOME/hibana/config.toml` (`~/.config/hibana/config.toml`):

    default_profile = "dev"

    [profiles.dev]
    address = "127.0.0.1:50051"
    token = "..."            # or token_file = "/path"
    ca_file = "/path"        # root certificate for TLS
    tls = false
    insecure = false         # send the token in clear beyond this machine

Arguments win (address and token first, then a profile named by argument), then HIBANA_ADDRESS and
HIBANA_TOKEN, then the profile named by HIBANA_PROFILE or `default_profile`. What a profile says,
its token above all, holds for that profile's address only: with another address, the token must
be given with it.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hibana.errors import ConfigError

DEFAULT_ADDRESS = "127.0.0.1:50051"
_KEYS: dict[str, type] = {
    "address": str,
    "token": str,
    "token_file": str,
    "ca_file": str,
    "tls": bool,
    "insecure": bool,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """How to reach the service."""

    target: str
    """`host:port` or `unix:/path`, as gRPC takes it."""
    tls: bool
    token: str
    """Bearer token; empty sends none."""
    ca_file: str
    """Root certificates, PEM; empty means the system's."""


def load(
    *,
    address: str | None = None,
    token: str | None = None,
    profile: str | None = None,
    tls: bool | None = None,
    insecure: bool | None = None,
    ca_file: str | None = None,
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
    target, secure = parse_address(given or settings.get("address", DEFAULT_ADDRESS), tls or settings.get("tls", False))
    of_environment = environ.get("HIBANA_TOKEN", "")
    of_profile = _profile_token(settings)
    secret = _checked_token(token or (of_profile if profile and of_profile else of_environment or of_profile))
    allowed = settings.get("insecure", False) if insecure is None else insecure
    if secret and not secure and not allowed and not is_loopback(target):
        raise ConfigError(
            f"refusing to send the token to {target} in clear text",
            next_step="use an https:// address, or pass --insecure (insecure=True) on a network you trust",
        )
    return Settings(target=target, tls=secure, token=secret, ca_file=ca_file or settings.get("ca_file", ""))


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


def profile_file(environ: Mapping[str, str]) -> Path:
    """Return the path of the profile file, whether it exists or not."""
    base = environ.get("XDG_CONFIG_HOME")
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    return (Path(base) if base else home / ".config") / "hibana" / "config.toml"


def _profile(name: str, environ: Mapping[str, str]) -> dict[str, Any]:
    path = profile_file(environ)
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if name:
            raise ConfigError(f"profile {name!r} is asked for, but there is no {path}") from None
        return {}
    except (OSError, ValueError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise ConfigError(f"{path} cannot be read: {error}") from None
    profiles = content.get("profiles", {})
    name = name or str(content.get("default_profile", ""))
    if not name:
        return {}
    if not isinstance(profiles, dict) or not isinstance(profiles.get(name), dict):
        known = ", ".join(sorted(profiles)) if isinstance(profiles, dict) else ""
        raise ConfigError(f"{path} has no profile {name!r}", next_step=f"profiles there: {known or 'none'}")
    profile: dict[str, Any] = profiles[name]
    for key, value in profile.items():
        if key not in _KEYS:
            raise ConfigError(
                f"profile {name!r} in {path}: unknown key {key!r}", next_step=f"known: {', '.join(_KEYS)}"
            )
        if not isinstance(value, _KEYS[key]):
            raise ConfigError(f"profile {name!r} in {path}: {key} must be a {_KEYS[key].__name__}")
    return profile


def _profile_token(profile: Mapping[str, Any]) -> str:
    file = profile.get("token_file", "")
    if not file or profile.get("token"):
        return str(profile.get("token", ""))
    try:
        return Path(file).expanduser().read_text("utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"the token file {file} cannot be read: {error}") from None


def _checked_token(token: str) -> str:
    token = token.strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            "the token holds characters that no token has",
            next_step="pass the token alone, without `Bearer`, quotes or line breaks",
        )
    return token
