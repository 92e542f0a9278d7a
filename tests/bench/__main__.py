"""`make bench`: figures of the whole service, as ratios within one run. Nothing here passes or fails by time."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import wasmtime

from tests.bench import (
    admission,
    bombs,
    denials,
    history,
    invoke,
    isolation,
    lists,
    memory,
    neighbours,
    programs,
    raw,
    recording,
    removal,
    sessions,
    stdout,
    strangers,
    tokens,
    transfers,
    values,
)
from tests.bench.uploads import TINY, upload
from tests.framework.server import WITHOUT_QUOTAS, Server

SETTINGS = {"LOG_ACCESS": "false", **WITHOUT_QUOTAS}


def main() -> int:
    """Measure what the arguments name, or everything, and print one JSON object."""
    parts = {
        "raw": raw.measure,
        "invoke": invoke.measure,
        "admission": admission.measure,
        "neighbours": neighbours.measure,
        "bombs": bombs.measure,
        "isolation": isolation.measure,
        "stdout": stdout.measure,
        "programs": programs.measure,
        "memory": memory.measure,
        "lists": lists.measure,
        "recording": recording.measure,
        "removal": removal.measure,
        "history": history.measure,
        "transfers": transfers.measure,
        "tokens": tokens.measure,
        "strangers": strangers.measure,
        "values": values.measure,
        "sessions": sessions.measure,
        "denials": denials.measure,
    }
    chosen = sys.argv[1:] or list(parts)
    if unknown := set(chosen) - set(parts):
        print(f"No such part: {', '.join(sorted(unknown))}. There are: {', '.join(parts)}", file=sys.stderr)
        return 2
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch, Server(Path(scratch, "data"), SETTINGS) as server:
        upload(server, "tiny", bytes(wasmtime.wat2wasm(TINY)))
        upload(server, "chatty", bytes(wasmtime.wat2wasm(stdout.CHATTY)))
        for name in chosen:
            figures |= parts[name](server)
            print(json.dumps({k: round(v, 3) for k, v in figures.items()}, indent=2), file=sys.stderr)
        if {"raw", "invoke"} <= set(chosen):
            figures["service tax"] = figures["invoke - echo p50 us"] / figures["raw fresh call us"]
    print(json.dumps({k: round(v, 3) for k, v in figures.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
