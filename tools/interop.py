"""Prepare the clients of tests/interop: generate their code from proto/, fetch what they build on, build them.

Everything happens in `.interop`, in a copy of each project, and happens again only when something it is made from
has changed. Packages come through each language's own client, as this machine has it set up.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "tests/interop"
PROTO = ROOT / "proto"
BUILDS = ROOT / ".interop"
STAMP = ".built-from"
SOURCE_LIST = ".copied"
PROTOC = (sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={PROTO}")
CONTRACT = tuple(str(path) for path in sorted(PROTO.glob("hibana/v1/*.proto")))


@dataclass(frozen=True, slots=True)
class Tool:
    """A command that a project is built with."""

    version: tuple[str, ...]
    """The command line that prints its version."""
    oldest: tuple[int, int]
    """The oldest version that will do."""
    package: str
    """The package of Debian and Ubuntu that brings it, though not always new enough."""

    def lack(self) -> str | None:
        """Say what is wrong with it on this machine; None if nothing is."""
        name, wanted = self.version[0], ".".join(map(str, self.oldest))
        if shutil.which(name) is None:
            return (
                f"there is no {name}: install {wanted} or newer, on Debian or Ubuntu `apt-get install {self.package}`"
            )
        shown = subprocess.run(self.version, capture_output=True, text=True, check=False)
        # `javac 21` has no dot, and Maven colours its name with digits.
        found = re.search(r"\d+(?:\.\d+)+|(?<=\s)\d+(?=\s)", shown.stdout + shown.stderr)
        if found is None:
            return f"{name} does not tell its version"
        if tuple(map(int, found[0].split("."))) < self.oldest:
            return f"{name} is {found[0]}, and {wanted} or newer is needed: your system's package may be too old"
        return None


@dataclass(frozen=True, slots=True)
class Project:
    """A client in one language."""

    name: str
    tools: tuple[Tool, ...]
    build: tuple[tuple[str, ...], ...]
    """Commands in order, run in the copy of the project."""
    run: tuple[str, ...]
    """The command that runs it; what has a slash is in the copy."""

    @property
    def place(self) -> Path:
        """Where it is built."""
        return BUILDS / self.name

    def command(self) -> list[str]:
        """Return the command that runs the client, to be followed by the script."""
        return [part.replace("{place}", str(self.place)) for part in self.run]

    def ready(self) -> bool:
        """Tell whether it is built from what is there now."""
        stamp = self.place / STAMP
        return stamp.is_file() and stamp.read_text(encoding="utf-8") == self.fingerprint()

    def fingerprint(self) -> str:
        """Return a digest of everything in this repository that it is made from."""
        digest = hashlib.sha256(repr(self).encode())
        for path in [*self._sources(), *sorted(PROTO.rglob("*.proto"))]:
            digest.update(f"{path.relative_to(ROOT)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def prepare(self) -> None:
        """Build it. Raises subprocess.CalledProcessError."""
        (self.place / STAMP).unlink(missing_ok=True)
        self._copy()
        for line in self.build:
            command = [part.replace("{place}", str(self.place)) for part in line]
            environment = {**os.environ, "HIBANA_PROTO": str(PROTO)}
            subprocess.run(command, cwd=self.place, env=environment, stdin=subprocess.DEVNULL, check=True)
        (self.place / STAMP).write_text(self.fingerprint(), encoding="utf-8")

    def _copy(self) -> None:
        listed = self.place / SOURCE_LIST
        known = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
        names = []
        for path in self._sources():
            names.append(path.relative_to(SOURCES / self.name).as_posix())
            copy = self.place / names[-1]
            copy.parent.mkdir(parents=True, exist_ok=True)
            # A file that is as it was keeps its time, for those builds that go by it.
            if not copy.is_file() or copy.read_bytes() != path.read_bytes():
                shutil.copyfile(path, copy)
        for name in set(known).difference(names):
            (self.place / name).unlink(missing_ok=True)
        listed.write_text("\n".join(names), encoding="utf-8")

    def _sources(self) -> Iterator[Path]:
        yield from sorted(path for path in (SOURCES / self.name).rglob("*") if path.is_file())


GO = Project(
    name="go",
    tools=(Tool(("go", "version"), (1, 24), "golang-go"),),
    build=(
        ("mkdir", "-p", "bin"),
        ("go", "build", "-o", "bin/", "google.golang.org/protobuf/cmd/protoc-gen-go"),
        ("go", "build", "-o", "bin/", "google.golang.org/grpc/cmd/protoc-gen-go-grpc"),
        (
            *PROTOC,
            "--plugin={place}/bin/protoc-gen-go",
            "--plugin={place}/bin/protoc-gen-go-grpc",
            "--go_out=.",
            "--go_opt=module=github.com/hibana/hibana",
            "--go-grpc_out=.",
            "--go-grpc_opt=module=github.com/hibana/hibana",
            *CONTRACT,
        ),
        ("go", "build", "-o", "bin/client", "."),
    ),
    run=("{place}/bin/client",),
)

TYPESCRIPT = Project(
    name="typescript",
    tools=(Tool(("node", "--version"), (18, 0), "nodejs"), Tool(("npm", "--version"), (9, 0), "npm")),
    build=(
        ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"),
        ("mkdir", "-p", "src/gen"),
        (
            *PROTOC,
            "--proto_path={place}/node_modules/google-proto-files",
            "--plugin={place}/node_modules/.bin/protoc-gen-ts_proto",
            "--ts_proto_out=src/gen",
            # 64-bit integers as bigint, enumerations as their names, times with all of their digits.
            "--ts_proto_opt=outputServices=grpc-js,forceLong=bigint,stringEnums=true,useDate=false",
            "--ts_proto_opt=oneof=unions,env=node,importSuffix=.js,outputJsonMethods=false,useExactTypes=false",
            *CONTRACT,
            "google/rpc/status.proto",
            "google/rpc/error_details.proto",
        ),
        ("npm", "run", "--silent", "build"),
    ),
    run=("node", "{place}/dist/main.js"),
)

JAVA = Project(
    name="java",
    tools=(Tool(("javac", "-version"), (17, 0), "default-jdk-headless"), Tool(("mvn", "--version"), (3, 8), "maven")),
    build=(("mvn", "--batch-mode", "--quiet", f"-Dhibana.proto={PROTO}", "compile"),),
    run=("java", "-cp", "{place}/target/classes:{place}/target/lib/*", "dev.hibana.interop.Main"),
)

RUST = Project(
    name="rust",
    tools=(Tool(("cargo", "--version"), (1, 88), "cargo"),),
    build=(("cargo", "build", "--quiet"),),
    run=("{place}/target/debug/interop",),
)

PROJECTS = {project.name: project for project in (GO, TYPESCRIPT, JAVA, RUST)}


def main() -> int:
    """Prepare the named clients; all without a name. Fails if one of them cannot be built here."""
    parser = argparse.ArgumentParser(prog="make interop")
    parser.add_argument("names", nargs="*", choices=[[], *PROJECTS], help="which clients, as ARGS; all without one")
    complaints = []
    for name in parser.parse_args().names or PROJECTS:
        project, started = PROJECTS[name], time.monotonic()
        if project.ready():
            print(f"{name}: is ready")
            continue
        lacks = [lack for tool in project.tools if (lack := tool.lack())]
        if lacks:
            complaints += [f"{name}: {lack}" for lack in lacks]
            continue
        try:
            project.prepare()
        except subprocess.CalledProcessError as error:
            complaints.append(f"{name}: {error.cmd[0]} failed with {error.returncode}; it says why above")
        else:
            print(f"{name}: built in {time.monotonic() - started:.0f} s")
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
