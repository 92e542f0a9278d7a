"""`make bench`: figures of the whole service, as ratios within one run. Nothing here passes or fails by time."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import wasmtime

from tests.bench import invoke, memory, programs, stdout
from tests.bench.uploads import upload
from tests.framework.server import Server

TINY = """
(module (memory (export "memory") 1)
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))
"""


def main() -> int:
    """Measure what the arguments name, or everything, and print one JSON object."""
    parts = {"invoke": invoke.measure, "stdout": stdout.measure, "programs": programs.measure, "memory": memory.measure}
    chosen = sys.argv[1:] or list(parts)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch, Server(Path(scratch, "data"), {"LOG_ACCESS": "false"}) as server:
        upload(server, "tiny", bytes(wasmtime.wat2wasm(TINY)))
        upload(server, "chatty", bytes(wasmtime.wat2wasm(stdout.CHATTY)))
        for name in chosen:
            figures |= parts[name](server)
            print(json.dumps({k: round(v, 3) for k, v in figures.items()}, indent=2), file=sys.stderr)
    print(json.dumps({k: round(v, 3) for k, v in figures.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
