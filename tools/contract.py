"""Move proto/baseline.binpb, the image of the contract that `buf breaking` compares with.

Usage: `python tools/contract.py`. The baseline moves only together with a decision record: an ADR under docs/adr
that is not committed yet, or was committed after the baseline, and that names every .proto file that changed. The
very first baseline, as long as no commit holds one, needs none.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

ROOT = Path(__file__).resolve().parent.parent
BASELINE = Path("proto/baseline.binpb")
RECORDS = Path("docs/adr")


def git(*arguments: str) -> str:
    """Return what a git command prints; empty when it fails, as for a repository without commits."""
    return subprocess.run(["git", *arguments], cwd=ROOT, check=False, capture_output=True, text=True).stdout.strip()


def build_image() -> bytes:
    """Return the image of proto/ as it is now, comments left out. Raises CalledProcessError if it does not compile."""
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch, "image.binpb")
        buf = Path(sys.executable).with_name("buf")
        subprocess.run([str(buf), "build", "--exclude-source-info", "--output", str(target)], cwd=ROOT, check=True)
        return target.read_bytes()


def changed_protos(before: bytes, after: bytes) -> list[str]:
    """Return the names of the .proto files that two images do not share unchanged."""
    old, new = (
        {file.name: file.SerializeToString() for file in FileDescriptorSet.FromString(image).file}
        for image in (before, after)
    )
    return sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))


def fresh_records() -> list[Path]:
    """Return the ADRs that are uncommitted or were committed after the baseline last moved."""
    moved = git("log", "-1", "--format=%H", "--", str(BASELINE))
    names = git("diff", "--name-only", moved, "--", str(RECORDS)).splitlines()
    names += git("ls-files", "--others", "--exclude-standard", "--", str(RECORDS)).splitlines()
    return [ROOT / name for name in sorted(set(names)) if name.endswith(".md") and (ROOT / name).exists()]


def unexplained(changed: list[str]) -> list[str]:
    """Return the changed .proto files that no fresh ADR names."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in fresh_records())
    return [name for name in changed if Path(name).name not in text]


def main() -> int:
    """Accept the present contract as the new baseline, or tell what is missing; return the exit code."""
    image = build_image()
    target = ROOT / BASELINE
    changed = changed_protos(target.read_bytes(), image) if target.exists() else []
    if target.exists() and not changed:
        print(f"{BASELINE} is up to date")
        return 0
    missing = unexplained(changed) if git("ls-tree", "HEAD", "--", str(BASELINE)) else []
    if missing:
        print(f"Changed since the baseline: {', '.join(missing)}", file=sys.stderr)
        print(f"Write a new ADR in {RECORDS} that names these files and says why, then try again.", file=sys.stderr)
        return 1
    target.write_bytes(image)
    print(f"{BASELINE} now holds the present contract; commit it together with the ADR")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
