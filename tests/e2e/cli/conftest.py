"""The installed command `hibana` against a real server process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import wasmtime

from hibana_server.domain.callers import Role
from tests.framework.server import Server

COMMAND = Path(sys.executable).with_name("hibana")
GUESTS = Path(__file__).parents[2] / "guests"
SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Cli:
    """The command as one caller has it: address and token in the environment, a home of its own."""

    environ: dict[str, str]
    home: Path

    def run(self, *args: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run the command to its end."""
        return subprocess.run(
            [COMMAND, *args],
            input=stdin,
            capture_output=True,
            check=False,
            env=self.environ,
            cwd=self.home,
            timeout=SECONDS,
        )

    def ok(self, *args: str, stdin: bytes = b"") -> str:
        """Run the command, which must succeed, and return what it printed."""
        done = self.run(*args, stdin=stdin)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def start(self, *args: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Start the command without waiting for it; `stdin` as subprocess spells it."""
        return subprocess.Popen(
            [COMMAND, *args],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environ,
            cwd=self.home,
        )


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("cli-server") / "data") as running:
        yield running


def cli_of(server: Server, subject: str, home: Path, role: Role = Role.USER) -> Cli:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HIBANA_", "XDG_"))}
    told = {
        "HOME": str(home),
        "HIBANA_ADDRESS": server.address,
        "HIBANA_TOKEN": server.token(subject, role),
        "TERM": "xterm",
        "COLUMNS": "160",
    }
    return Cli({**kept, **told}, home)


@pytest.fixture(scope="session")
def cli(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """Give the command of a caller who has the modules `numbers`, `cat`, `exit` and `endless`."""
    made = cli_of(server, "cli", tmp_path_factory.mktemp("cli"))
    for name in ("numbers", "cat", "exit", "endless", "ungranted"):
        text = (GUESTS / f"client_{name}.wat").read_text("utf-8")
        (made.home / f"{name}.wasm").write_bytes(bytes(wasmtime.wat2wasm(text)))
        if name != "ungranted":
            made.ok("upload", f"{name}.wasm", "--name", name, "--version", "1.0.0")
    return made


@pytest.fixture
def newcomer(server: Server, tmp_path: Path, request: pytest.FixtureRequest) -> Cli:
    """Give the command of a caller who has nothing yet."""
    return cli_of(server, f"newcomer-{request.node.name[:80]}", tmp_path)
