"""Private memory of an idle sandbox worker."""

from __future__ import annotations

from pathlib import Path

from tests.framework.server import Server


def private_kb(pid: int) -> int:
    """Return the memory that only this process uses, kB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))


def parent(pid: int) -> int:
    """Return the parent of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1])


def measure(server: Server) -> dict[str, float]:
    """Read the memory of every worker: the children of the zygote."""
    below = server.descendants()
    workers = [pid for pid in below if parent(pid) != server.pid]
    assert workers
    return {"idle worker MB": max(private_kb(pid) for pid in workers) / 1024, "front MB": private_kb(server.pid) / 1024}
