"""h2load as a gRPC client: framed bodies, percentiles from its request log."""

from __future__ import annotations

import statistics
import struct
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of h2load measured."""

    per_second: float
    p50_us: float
    p99_us: float
    times_us: tuple[int, ...]
    """How long each request took, shortest first."""


def h2load(
    address: str,
    method: str,
    message: bytes,
    *,
    requests: int,
    clients: int,
    streams: int,
    token: str = "",
    headers: Mapping[str, str] | None = None,
) -> Load:
    """Send the same unary request `requests` times and return throughput and latency.

    Raises RuntimeError unless every request got an HTTP 200 (whether each was a success in gRPC's
    sense is for the caller to check with the service's own counters).
    """
    with tempfile.TemporaryDirectory() as scratch:
        body, log = Path(scratch, "body"), Path(scratch, "log")
        body.write_bytes(b"\0" + struct.pack(">I", len(message)) + message)
        command = ["h2load", f"http://{address}{method}", "-n", str(requests), "-c", str(clients), "-m", str(streams)]
        command += ["-d", str(body), f"--log-file={log}", "-H", "content-type: application/grpc", "-H", "te: trailers"]
        if token:
            command += ["-H", f"authorization: Bearer {token}"]
        for name, value in (headers or {}).items():
            command += ["-H", f"{name}: {value}"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        lines = [line.split("\t") for line in log.read_text(encoding="ascii").splitlines()]
    if len(lines) != requests or any(status != "200" for _, status, _ in lines):
        raise RuntimeError(f"h2load did not get {requests} answers:\n{done.stdout}")
    taken = sorted(int(us) for _, _, us in lines)
    rate = next(line for line in done.stdout.splitlines() if line.startswith("finished in"))
    per_second = float(rate.split(",")[1].split()[0])
    p99 = taken[int(len(taken) * 0.99)]
    return Load(per_second, statistics.median(taken), p99, tuple(taken))
