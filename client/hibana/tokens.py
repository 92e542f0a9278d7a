"""Where the bearer token comes from: a fixed text, a file that is renewed, a function.

    hibana.Client(token="...")                          the same for every call
    hibana.Client(token=hibana.TokenFile("/run/token")) read again whenever the file changes
    hibana.Client(token=current_token)                  called before every attempt; may be `async def`

A function that has to wait (for a login service, say) must be `async def`: an ordinary one is
called in the event loop and holds up every other call.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

from hibana.errors import ConfigError

TokenSource: TypeAlias = Callable[[], str] | Callable[[], Awaitable[str]]
Token: TypeAlias = str | TokenSource
"""What `Client(token=...)` takes."""

MAX_FILE_BYTES = 64 * 1024
"""No token is larger; whatever is has been named by mistake."""


class TokenFile:
    """The token in a file, read again when the file changes: what mounts and agents renew keeps working."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path).expanduser()
        self._seen: tuple[int, int, int] | None = None
        self._token = ""

    def __call__(self) -> str:
        """Return the token. Raises ConfigError for a file that cannot be read or holds no token."""
        try:
            status = self._path.stat()
            # A file renewed within one tick of the clock has another inode or size.
            now = (status.st_mtime_ns, status.st_ino, status.st_size)
            if now != self._seen:
                self._token, self._seen = self._read(), now
        except (OSError, ValueError) as error:  # ValueError: a null byte in the path, bytes that are no text
            why = (isinstance(error, OSError) and error.strerror) or error
            raise ConfigError(f"the token file {self._path} cannot be read: {why}") from None
        return self._token

    def __repr__(self) -> str:
        return f"TokenFile({str(self._path)!r})"

    def _read(self) -> str:
        with self._path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise ConfigError(f"the token file {self._path} is larger than any token")
        return checked_token(data.decode("utf-8"))


async def fetch(token: Token) -> str:
    """Return the token to send with the next attempt; empty sends none. Raises ConfigError."""
    if isinstance(token, str):
        return token
    told = token()
    value = await told if inspect.isawaitable(told) else told
    if not isinstance(value, str):
        raise ConfigError(f"the token function returned a {type(value).__name__}", next_step="return the token as str")
    return checked_token(value)


def checked_token(token: str) -> str:
    """Return a token without white space around it. Raises ConfigError for what cannot be one."""
    token = token.strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            "the token holds characters that no token has",
            next_step="pass the token alone, without `Bearer`, quotes or line breaks",
        )
    return token
