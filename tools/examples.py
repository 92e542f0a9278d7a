"""Build the guests of examples/, each by the commands that its README shows, where this machine has the toolchain.

Everything is built in the folder of the example, in `build`, and again only when something it is made from has changed.
Packages come through each language's own client, as this machine has it set up.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tools.interop import Tool
from tools.rust_targets import Target

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "examples"
STAMP = "build/.built-from"
_BUILT = frozenset({"build", "target", "node_modules", "__pycache__", "Cargo.lock"})
"""What the toolchains leave in a folder."""
_BUILD = re.compile(r"^## Build\n.*?^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _path() -> str:
    """Return where commands are looked for: in the environment and in .tools first, as in the README's tour."""
    return os.pathsep.join([str(Path(sys.executable).parent), str(ROOT / ".tools/bin"), os.environ["PATH"]])


class Need(Protocol):
    """Something that an example is built with."""

    def lack(self) -> str | None:
        """Say what is wrong with it on this machine and how to get it; None if nothing is."""
        ...


@dataclass(frozen=True, slots=True)
class Package:
    """A toolchain that is a package of Python, in the environment that runs this."""

    module: str
    name: str

    def lack(self) -> str | None:
        """Say how to install it where it is not."""
        if importlib.util.find_spec(self.module) is not None:
            return None
        return f"there is no {self.name}: `.venv/bin/python -m pip install -c constraints.txt {self.name}`"


@dataclass(frozen=True, slots=True)
class Command:
    """A command that is a package of its own language."""

    name: str
    enable: str
    """What brings it."""

    def lack(self) -> str | None:
        """Say how to install it where it is not."""
        return None if shutil.which(self.name, path=_path()) else f"there is no {self.name}: {self.enable}"


@dataclass(frozen=True, slots=True)
class Example:
    """A guest in one language."""

    name: str
    needs: tuple[Need, ...]
    rust: Target | None = None
    """What a crate is built for."""

    @property
    def place(self) -> Path:
        """Where its sources are and where it is built."""
        return SOURCES / self.name

    @property
    def readme(self) -> Path:
        """What tells how it is built, uploaded and run."""
        return self.place / "README.md"

    def commands(self) -> str:
        """Return the commands that build it, to be run in its folder."""
        found = _BUILD.search(self.readme.read_text(encoding="utf-8"))
        if found is None:
            raise ValueError(f"{self.readme} has no commands below the heading Build")
        return found[1]

    def ready(self) -> bool:
        """Tell whether it is built from what is there now."""
        stamp = self.place / STAMP
        return stamp.is_file() and stamp.read_text(encoding="utf-8") == self.fingerprint()

    def fingerprint(self) -> str:
        """Return a digest of everything in this repository that it is made from."""
        digest = hashlib.sha256(self.commands().encode())
        for path in sorted(self.place.rglob("*")):
            inside = path.relative_to(self.place)
            if path == self.readme or not path.is_file() or not _BUILT.isdisjoint(inside.parts):
                continue
            digest.update(f"{inside}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def lacks(self) -> list[str]:
        """Return what this machine lacks to build it."""
        return [lack for need in (*self.needs, self.rust) if need is not None and (lack := need.lack())]

    def build(self) -> None:
        """Build it. Raises subprocess.CalledProcessError."""
        stamp = self.place / STAMP
        stamp.unlink(missing_ok=True)
        commands = self.commands() if self.rust is None else self.rust.adapt(self.commands())
        shell = ["bash", "-euo", "pipefail", "-c", commands]
        subprocess.run(shell, cwd=self.place, env={**os.environ, "PATH": _path()}, stdin=subprocess.DEVNULL, check=True)
        stamp.parent.mkdir(exist_ok=True)
        stamp.write_text(self.fingerprint(), encoding="utf-8")


CARGO = (Tool(("cargo", "--version"), (1, 63), "cargo"),)
BINDGEN = Command("wasm-bindgen", "`make wasm-bindgen`, or `cargo install wasm-bindgen-cli@0.2.100`")
NODE = (Tool(("node", "--version"), (20, 0), "nodejs"), Tool(("npm", "--version"), (9, 0), "npm"))
EXAMPLES = {
    example.name: example
    for example in (
        Example("rust", (*CARGO, BINDGEN), Target("wasm32-unknown-unknown")),
        Example("rust-wasi", CARGO, Target("wasm32-wasip1")),
        Example("c", (Package("ziglang", "ziglang"),)),
        Example("go", (Tool(("go", "version"), (1, 21), "golang-go"),)),
        Example("assemblyscript", NODE),
        Example("python", (Package("componentize_py", "componentize-py"),)),
        Example("javascript", NODE),
    )
}


def main() -> int:
    """Build the named examples; without a name, all that can be built here. Fails if a build fails."""
    parser = argparse.ArgumentParser(prog="make examples")
    parser.add_argument("names", nargs="*", choices=[[], *EXAMPLES], help="which examples, as ARGS; all without one")
    named = parser.parse_args().names
    failed = False
    for name in named or EXAMPLES:
        example, started = EXAMPLES[name], time.monotonic()
        shown = example.readme.relative_to(ROOT)
        if example.ready():
            print(f"{name}: is built; {shown} tells how to run it")
            continue
        lacks = example.lacks()
        if lacks:
            print(f"{name}: not built: {'; '.join(lacks)}")
            failed = failed or bool(named)
            continue
        try:
            example.build()
        except subprocess.CalledProcessError as error:
            print(f"{name}: not built: a command of {shown} failed with {error.returncode}; it says why above")
            failed = True
        else:
            print(f"{name}: built in {time.monotonic() - started:.0f} s; {shown} tells how to run it")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
