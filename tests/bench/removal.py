"""What calls suffer while old records are removed: a server that removes beside one with as many that keeps them."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
import urllib.request
from pathlib import Path

import wasmtime

from hibana_server.storage.data_dir import open_data_dir
from hibana_server.storage.migrate import upgrade
from tests.bench import history
from tests.bench.recording import SETTINGS, Pairs, load, p99_us
from tests.bench.uploads import TINY, upload
from tests.framework.server import Server

RECORDS = int(os.environ.get("BENCH_REMOVED", "400000"))
"""Records of each server that are past their time."""
ROUNDS = 24
SHAPE = ("Invoke", 600, 4, 8)
KEEPING = {f"HISTORY_{tier}_SECONDS": str(90 * 365 * 86400) for tier in ("USER", "ADMIN", "SYSTEM")}


def measure(_: Server) -> dict[str, float]:
    """Measure two servers of our own in turns, as long as the one removes."""
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("keeping", "removing"):
            data_dir = open_data_dir(Path(scratch, name))
            upgrade(data_dir)
            history.fill(data_dir.executions_db, RECORDS)
        with (
            Server(Path(scratch, "keeping"), SETTINGS | KEEPING) as keeping,
            Server(Path(scratch, "removing"), SETTINGS) as removing,
        ):
            pairs = Pairs()
            for server in (keeping, removing):
                upload(server, "tiny", bytes(wasmtime.wat2wasm(TINY)))
                load(server, "Invoke", 1000, 4, 8)
            began, before = time.monotonic(), removed(removing)
            for turn in range(ROUNDS):
                for server in (keeping, removing) if turn % 2 else (removing, keeping):
                    (pairs.on if server is removing else pairs.off).append(load(server, *SHAPE))
            after, ended = removed(removing), time.monotonic()
            assert before < after < RECORDS, "it removed all the time"
            assert removed(keeping) == 0
    return {
        "Invoke while records are removed: requests/s": statistics.median(each.per_second for each in pairs.on),
        "Invoke while records are removed: requests/s, removing / not": pairs.rate_ratio(),
        "Invoke while records are removed: p99 us": p99_us(pairs.on),
        "Invoke while records are removed: p99, removing / not": pairs.p99_ratio(),
        "records removed per second meanwhile": (after - before) / (ended - began),
    }


def removed(server: Server) -> float:
    """Return how many records a server has removed since its start."""
    with urllib.request.urlopen(f"http://{server.http}/metrics") as page:
        lines = page.read().decode().splitlines()
    return float(next(line for line in lines if line.startswith("hibana_history_removed_total ")).split()[1])
