"""Fuzz the gate with coverage: `python -m tests.fuzz --seconds 60 [--seed N]`, or `make fuzz`.

Starts from small modules and a component. What is asserted of every input stands in `oracle.py`. The exit status is
not 0 when something else happens or one input takes seconds; libFuzzer prints that input in base64.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import atheris
except ImportError:  # it has no build for every Python release
    atheris = None

SECONDS_OF_ONE_INPUT = 5
LONGEST = 8 * 1024


def main() -> int:
    """Fuzz for a while in a process of its own, since libFuzzer ends the one it runs in."""
    parser = argparse.ArgumentParser(description="Fuzz the gate.")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 1 << 31))
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if atheris is None:
        print("not run: atheris does not install for this Python", file=sys.stderr)
        return 0
    if options.inside:
        fuzz(options.inside, options.seconds, options.seed)
    print(f"fuzzing the gate for {options.seconds} s, seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.fuzz", "--inside", folder]
        command += ["--seconds", str(options.seconds), "--seed", str(options.seed)]
        return subprocess.run(command, check=False).returncode


def fuzz(folder: Path, seconds: int, seed: int) -> None:
    """Fuzz with inputs kept in a folder. Does not return."""
    with atheris.instrument_imports(include=["hibana_server.sandbox.gate"]):
        from tests.fuzz.oracle import check
        from tests.fuzz.seeds import seeds
    for number, data in enumerate(seeds()):
        (folder / str(number)).write_bytes(data)
    atheris.Setup(
        [
            sys.argv[0],
            f"-max_total_time={seconds}",
            f"-seed={seed}",
            f"-timeout={SECONDS_OF_ONE_INPUT}",
            f"-max_len={LONGEST}",
            f"-artifact_prefix={folder}{os.sep}",
            "-print_final_stats=1",
            "-verbosity=0",
            str(folder),
        ],
        check,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
