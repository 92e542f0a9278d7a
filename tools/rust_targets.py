"""Rust for WebAssembly, also where the Rust at hand cannot get that target but the system's package of Rust has it."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

SYSTEM_LIBRARIES = Path("/usr/lib/rustlib")
SYSTEM_CARGO = Path("/usr/bin/cargo")
OLD_NAMES = {"wasm32-wasip1": "wasm32-wasi"}
"""What releases before 1.78 call a target."""
_VENDOR = "target/vendor"
_OFFLINE = (
    f"{SYSTEM_CARGO} build --offline --config 'source.crates-io.replace-with=\"vendored\"'"
    f" --config 'source.vendored.directory=\"{_VENDOR}\"'"
)


@dataclass(frozen=True, slots=True)
class Target:
    """A target that crates are built for."""

    name: str

    def lack(self) -> str | None:
        """Say how to get it where no Rust of this machine has it."""
        if self._at_hand() or self._of_the_system() is not None:
            return None
        return (
            f"there is no Rust for {self.name}: `rustup target add {self.name}`,"
            " or on Debian or Ubuntu `apt-get install --install-recommends cargo libstd-rust-dev-wasm32`"
        )

    def adapt(self, commands: str) -> str:
        """Return the commands as this machine can run them.

        The system's package may be too old to read today's package index: then the cargo at hand fetches the sources,
        of versions that the compiler can read, and the system's builds from those.
        """
        system = None if self._at_hand() else self._of_the_system()
        if system is None:
            return commands
        fetch = f"CARGO_RESOLVER_INCOMPATIBLE_RUST_VERSIONS=fallback cargo vendor --quiet {_VENDOR} >/dev/null\n"
        return (
            fetch
            + f"export RUSTC={SYSTEM_CARGO.with_name('rustc')}\n"
            + commands.replace("cargo build", _OFFLINE).replace(self.name, system)
        )

    def _at_hand(self) -> bool:
        command = ["rustc", "--print", "target-libdir", "--target", self.name]
        try:
            shown = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return False
        return shown.returncode == 0 and any(Path(shown.stdout.strip()).glob("libstd-*"))

    def _of_the_system(self) -> str | None:
        """Return what the system's Rust calls the target; None where it lacks that."""
        for name in (self.name, OLD_NAMES.get(self.name, self.name)):
            if SYSTEM_CARGO.exists() and any(SYSTEM_LIBRARIES.joinpath(name).rglob("libstd-*")):
                return name
        return None
