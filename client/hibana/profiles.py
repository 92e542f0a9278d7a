"""The profile file: named ways to reach a service.

`$XDG_CONFIG_HOME/hibana/config.toml` (`~/.config/hibana/config.toml`):

    default_profile = "dev"

    [profiles.dev]
    address = "127.0.0.1:50051"
    token = "..."            # or token_file = "/path", read again when it changes
    ca_file = "/path"        # root certificate for TLS; the system's where there is none
    cert_file = "/path"      # mutual TLS: this client's certificate ...
    key_file = "/path"       # ... and its key
    server_name = "name"     # name in the server's certificate where it is not the address's
    tls = false
    insecure = false         # send the token in clear beyond this machine

A file that holds a token must not be readable by others (mode 0600).
"""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hibana.errors import ConfigError

KEYS: dict[str, type] = {
    "address": str,
    "token": str,
    "token_file": str,
    "ca_file": str,
    "cert_file": str,
    "key_file": str,
    "server_name": str,
    "tls": bool,
    "insecure": bool,
}


@dataclass(frozen=True, slots=True)
class ProfileFile:
    """What the file says."""

    path: Path
    default: str
    """Profile used when none is named; may be empty."""
    profiles: Mapping[str, Mapping[str, Any]]

    def get(self, name: str) -> Mapping[str, Any]:
        """Return a profile, the default one for an empty name, nothing where there is none. Raises ConfigError."""
        name = name or self.default
        if not name:
            return {}
        if name not in self.profiles:
            known = ", ".join(sorted(self.profiles)) or "none"
            raise ConfigError(f"{self.path} has no profile {name!r}", next_step=f"profiles there: {known}")
        profile = self.profiles[name]
        for key, value in profile.items():
            self._check(name, key, value)
        return profile

    def _check(self, name: str, key: str, value: Any) -> None:
        if key not in KEYS:
            raise ConfigError(
                f"profile {name!r} in {self.path}: unknown key {key!r}", next_step=f"known: {', '.join(KEYS)}"
            )
        if not isinstance(value, KEYS[key]):
            raise ConfigError(f"profile {name!r} in {self.path}: {key} must be a {KEYS[key].__name__}")


def profile_path(environ: Mapping[str, str]) -> Path:
    """Return the path of the profile file, whether it exists or not."""
    base = environ.get("XDG_CONFIG_HOME")
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    return (Path(base) if base else home / ".config") / "hibana" / "config.toml"


def read(environ: Mapping[str, str] | None = None) -> ProfileFile | None:
    """Read the profile file; None if there is none. Raises ConfigError with what to do next."""
    path = profile_path(os.environ if environ is None else environ)
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = tomllib.load(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise ConfigError(f"{path} cannot be read: {error}") from None
    profiles = content.get("profiles", {})
    if not isinstance(profiles, dict) or not all(isinstance(profile, dict) for profile in profiles.values()):
        raise ConfigError(f"{path}: each profile is a table", next_step="write [profiles.NAME] above its keys")
    # Elsewhere than on POSIX systems these bits say nothing.
    shared = os.name == "posix" and bool(mode & (stat.S_IRWXG | stat.S_IRWXO))
    if shared and any(profile.get("token") for profile in profiles.values()):
        raise ConfigError(
            f"{path} holds a token and others may read it (mode {stat.S_IMODE(mode):04o})",
            next_step=f"chmod 600 {path}, or keep the token in a file of its own (token_file)",
        )
    return ProfileFile(path, str(content.get("default_profile", "")), profiles)
