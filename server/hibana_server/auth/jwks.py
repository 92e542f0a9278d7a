"""Keeps the keys of an issuer fresh: fetched away from the event loop, kept while they cannot be fetched."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from hibana_server.auth.key_set import MAX_BYTES, KeySet, read_key_set
from hibana_server.domain.errors import HibanaError, Invalid, Unavailable

FETCH_SECONDS = 5.0
"""Time a fetch may take."""
REFRESH_SECONDS = 600.0
"""Age at which keys are fetched again."""
ASK_SECONDS = 10.0
"""Seconds between two fetches for the sake of an id that nobody knows: anybody can invent one."""
KEEP_SECONDS = 86_400.0
"""Age up to which keys serve while they cannot be fetched."""
_CHUNK = 16 * 1024

log = structlog.get_logger("hibana.auth")


class Jwks:
    """The keys at a URL or in a file. For the event loop's thread."""

    def __init__(self, source: str, algorithms: tuple[str, ...], on_change: Callable[[], None]) -> None:
        """`source`: https://..., http:// on this machine, or a path; `on_change` is called when keys were replaced.

        Raises Invalid for a source that is none of these.
        """
        self._source = check_source(source)
        self._algorithms = algorithms
        self._on_change = on_change
        self._data = b""
        self._keys: KeySet | None = None
        self._fetched = self._tried = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    def current(self) -> KeySet | None:
        """Return the keys as they are known; None where there are none, or none that are young enough."""
        if self._keys is None or time.monotonic() - self._fetched > KEEP_SECONDS:
            return None
        return self._keys

    def may_have_changed(self) -> bool:
        """Tell whether a fetch may be made for an id that nobody knows."""
        return self._fetching is not None or time.monotonic() - self._tried >= ASK_SECONDS

    async def refresh(self) -> None:
        """Fetch the keys; whoever asks meanwhile waits for the same fetch. Raises Unavailable where that fails."""
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._refresh())
            self._fetching.add_done_callback(self._fetched_once)
        await asyncio.shield(self._fetching)

    async def watch(self) -> None:
        """Fetch the keys now and whenever they are old, for ever."""
        while True:
            wait = REFRESH_SECONDS
            try:
                await self.refresh()
            except HibanaError as error:
                log.warning("keys_not_fetched", source=self._source, error=error.message)
                wait = ASK_SECONDS
            await asyncio.sleep(wait)

    def _fetched_once(self, task: asyncio.Task[None]) -> None:
        self._fetching = None
        if not task.cancelled():
            task.exception()  # seen, also where everybody has stopped waiting

    async def _refresh(self) -> None:
        self._tried = time.monotonic()
        try:
            data = await asyncio.to_thread(fetch, self._source)
            keys = read_key_set(data, self._algorithms)
        except Invalid as error:
            raise Unavailable(f"the issuer's keys cannot be used: {error.message}", retry_after=ASK_SECONDS) from None
        self._fetched = time.monotonic()
        self._keys = keys
        if data != self._data:
            self._data = data
            log.info("keys_fetched", source=self._source, keys=len(keys))
            self._on_change()


def check_source(source: str) -> str:
    """Return where keys are. Raises Invalid for what is neither https, http on this machine, nor a path."""
    parts = urlsplit(source)
    if parts.scheme in ("", "file"):
        return source
    if parts.username or parts.password:
        raise Invalid("settings: jwt.jwks: a URL with a password in it would be shown in logs")
    if parts.scheme == "https" and parts.hostname:
        return source
    if parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost"):
        return source
    raise Invalid("settings: jwt.jwks: keys come from https://, from http:// on this machine, or from a file")


def fetch(source: str) -> bytes:
    """Read a key set. Raises Unavailable. Not for the event loop's thread."""
    try:
        if "://" not in source:
            with Path(source).open("rb") as file:
                return file.read(MAX_BYTES + 1)
        return _download(source)
    except (OSError, HTTPException, ValueError) as error:
        raise Unavailable(
            f"the issuer's keys cannot be fetched ({type(error).__name__}); try again", retry_after=ASK_SECONDS
        ) from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nobody elsewhere: the operator named one place."""

    def redirect_request(self, *_args: object, **_options: object) -> None:
        return None


def _download(url: str) -> bytes:
    end = time.monotonic() + FETCH_SECONDS
    # No proxies from the environment either.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
    request = urllib.request.Request(url, headers={"accept": "application/json"})  # noqa: S310 - see `check_source`
    data = bytearray()
    with opener.open(request, timeout=FETCH_SECONDS) as answer:
        while piece := answer.read1(_CHUNK):
            data += piece
            if len(data) > MAX_BYTES:
                raise ValueError("too large")
            if time.monotonic() > end:
                raise TimeoutError
    return bytes(data)
