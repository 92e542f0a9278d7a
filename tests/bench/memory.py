"""Private memory of idle sandbox workers."""

from __future__ import annotations

from pathlib import Path

from tests.bench.invoke import METHOD, request
from tests.bench.load import h2load
from tests.framework.server import Server

CALLS = 2000


def private_mb(pid: int) -> float:
    """Return the memory that only this process uses, MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty"))) / 1024


def parent(pid: int) -> int:
    """Return the parent of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1])


def largest_worker_mb(server: Server) -> float:
    """Return the private memory of the largest worker: workers are the children of the zygote."""
    return max(private_mb(pid) for pid in server.descendants() if parent(pid) != server.pid)


def measure(server: Server) -> dict[str, float]:
    """Restart the server, read a worker that nobody used, then one that served a tiny function."""
    server.stop()
    server.start()
    fresh = largest_worker_mb(server)
    h2load(server.address, METHOD, request(), requests=CALLS, clients=1, streams=1, token=server.token("bench"))
    return {
        "idle worker MB": fresh,
        f"idle worker after {CALLS} calls MB": largest_worker_mb(server),
        "front MB": private_mb(server.pid),
    }
