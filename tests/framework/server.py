"""A real server process on free ports, for tests that need one.

    with Server(tmp_path / "data") as server:       starts it and waits for its ready line
        alice = server.stubs("alice")                typed stubs that carry a token of alice
        server.kill(); server.start()                kill -9, and again on the same data directory

`in_process` runs the same service on the test's own event loop.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from hibana_server.app import Service, serving
from hibana_server.auth.tokens import issue
from hibana_server.domain.callers import Role
from hibana_server.settings.model import load
from hibana_server.storage.data_dir import load_or_create_key, open_data_dir
from tests.framework.processes import descendants, kill, wait_gone
from tests.framework.stubs import Stubs, connect

COMMAND = Path(sys.executable).with_name("hibana-server")
READY_SECONDS = 30.0
STOP_SECONDS = 25.0
"""What the contract grants between SIGTERM and the end."""
KEPT_LINES = 5000
ADDRESSES = ("--listen", "127.0.0.1:0", "--http", "127.0.0.1:0")
TTL = 3600.0


WITHOUT_QUOTAS = {
    f"QUOTA_USER_MAX_{name}": "0"
    for name in ("MODULES", "TOTAL_BYTES", "REQUESTS_PER_MINUTE", "CPU_SECONDS_PER_MINUTE", "CONCURRENT_EXECUTIONS")
}
"""Settings of servers whose single callers do, on purpose, what takes many callers in earnest."""


class ServerFailed(Exception):
    """The server did not do what was waited for; the text ends with its last log lines."""


class Server:
    """One server on one data directory. Starting, stopping and starting again keep the directory, not the ports."""

    def __init__(
        self, data_dir: Path, settings: Mapping[str, str] | None = None, *, before: Sequence[str | Path] = ()
    ) -> None:
        """Take settings as variables without prefix, `{"DRAIN_SECONDS": "1"}`, and a command that runs the server."""
        self.data_dir = data_dir
        self.address = ""
        """Where gRPC listens."""
        self.http = ""
        """Where /healthz and /metrics listen."""
        self._settings = dict(settings or {})
        self._before = before
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self.line_count = 0
        """Log lines since the last start."""
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._changed = threading.Condition()
        self._closed = False

    # ------------------------------------------------------------ life

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self.stop()
        else:
            self._collect()

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._running().pid

    def start(self) -> None:
        """Start the server and wait until it is ready. Raises ServerFailed."""
        self.spawn()
        try:
            ready = self.wait_for_log("ready", READY_SECONDS)
        except ServerFailed:
            self.kill()
            raise
        self.address, self.http = str(ready["grpc"]), str(ready["http"])

    def spawn(self) -> subprocess.Popen[str]:
        """Start the server without waiting for anything."""
        if self._process is not None:
            raise ServerFailed("the server of this data directory is running already")
        self._lines.clear()
        self.line_count = 0
        self._closed = False
        self._process = subprocess.Popen(
            [*self._before, COMMAND, "serve", "--data-dir", self.data_dir, *ADDRESSES],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=self._environment(),
            # Ctrl-C at the tests must not reach the server: the fixture stops it.
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        return self._process

    def stop(self, seconds: float = STOP_SECONDS) -> int:
        """Send SIGTERM, wait for the end and return the exit code. Raises ServerFailed when it does not end."""
        self.terminate()
        return self.wait(seconds)

    def terminate(self) -> None:
        """Send SIGTERM and do not wait."""
        self._running().send_signal(signal.SIGTERM)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for the end and return the exit code. Raises ServerFailed when it does not end."""
        process = self._running()
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            text = f"the server did not end within {seconds:g} s"
            failure = self._failure(text)
            self.kill()
            raise failure from None
        self._collect()
        return code

    def kill(self) -> list[int]:
        """Kill the server as `kill -9` does; return the descendants that did not end by themselves within 5 s."""
        process = self._running()
        below = descendants(process.pid)
        process.kill()
        process.wait()
        left = wait_gone(below, 5.0)
        kill(left, signal.SIGKILL)
        # Whoever holds the pipe would keep the reader waiting.
        self._collect()
        return left

    @property
    def process_ended(self) -> bool:
        """Tell whether the server is not running (any more)."""
        return self._process is None or self._process.poll() is not None

    def descendants(self) -> list[int]:
        """Return the processes that the server has started, directly or not."""
        return descendants(self._running().pid)

    # ------------------------------------------------------------ what it says

    def log(self) -> list[dict[str, Any]]:
        """Return the log lines since the last start that are JSON objects."""
        with self._changed:
            lines = list(self._lines)
        return [record for line in lines if (record := _record(line)) is not None]

    def lines(self, since: int = 0) -> list[str]:
        """Return the log lines since the last start as they are, without the first `since`; at most KEPT_LINES."""
        with self._changed:
            return list(self._lines)[max(0, since - self.line_count + len(self._lines)) :]

    def text(self) -> str:
        """Return the last lines of the log as they are."""
        with self._changed:
            return "".join(list(self._lines)[-40:])

    def wait_for_log(self, event: str, seconds: float = 10.0, **fields: object) -> dict[str, Any]:
        """Wait until a line with this event and these fields is there and return it. Raises ServerFailed."""

        def found() -> dict[str, Any] | None:
            for record in map(_record, self._lines):
                if record and record.get("event") == event and all(record.get(k) == v for k, v in fields.items()):
                    return record
            return None

        with self._changed:
            self._changed.wait_for(lambda: self._closed or found(), seconds)
            record = found()
        if record is None:
            raise self._failure(f"the server did not log {event!r} within {seconds:g} s")
        return record

    # ------------------------------------------------------------ calling it

    def token(self, subject: str, role: Role = Role.USER, ttl: float = TTL) -> str:
        """Make a token that this server accepts."""
        key = load_or_create_key(open_data_dir(self.data_dir).keys / "token.key")
        return issue(key, subject, role, ttl)

    def stubs(self, subject: str, role: Role = Role.USER) -> Stubs:
        """Open a channel for a caller; close it when done."""
        return connect(self.address, self.token(subject, role), subject)

    def without_token(self) -> Stubs:
        """Open a channel that sends no credentials."""
        return connect(self.address, None)

    # ------------------------------------------------------------ inside

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HIBANA_")}
        settings = {"LOG_FORMAT": "json", **self._settings}
        return {**kept, **{f"HIBANA_SERVER_{name}": value for name, value in settings.items()}}

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            raise ServerFailed("the server is not running")
        return self._process

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            with self._changed:
                self._lines.append(line)
                self.line_count += 1
                self._changed.notify_all()
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _collect(self) -> None:
        process, self._process = self._running(), None
        if self._reader is not None:
            self._reader.join(5.0)
        if process.stderr is not None:
            process.stderr.close()

    def _failure(self, text: str) -> ServerFailed:
        return ServerFailed(f"{text}; its log ends with:\n{self.text()}")


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


@asynccontextmanager
async def in_process(data_dir: Path, settings: Mapping[str, str] | None = None) -> AsyncIterator[Service]:
    """Run the service on this event loop; settings as for `Server`."""
    environ = {f"HIBANA_SERVER_{name}": value for name, value in (settings or {}).items()}
    options = {"data_dir": str(data_dir), "listen": "127.0.0.1:0", "http": "off"}
    async with serving(load(None, environ, options)) as service:
        yield service
