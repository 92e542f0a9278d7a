"""Write constraints.txt: one exact version for every package that any extra of Hibana can bring in."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "constraints.txt"
HEADER = """\
# The exact versions that development, tests and CI run with; names and versions only, so any package index serves.
# Written by `make lock` from pyproject.toml: change the ranges there, never a line here.
"""


def resolve() -> dict[str, str]:
    """Return normalised name -> version of all packages that pip would install for every extra, Hibana itself left out.

    Reads no constraints, so each answer is the newest version that pyproject.toml allows. Installs nothing.
    Raises subprocess.CalledProcessError if pip finds no solution or reaches no package index.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = ",".join(sorted(project["optional-dependencies"]))
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        subprocess.run([*command, "--report", str(report), "--editable", f"{ROOT}[{extras}]"], check=True)
        installs = json.loads(report.read_text(encoding="utf-8"))["install"]
    found = {re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower(): item["metadata"]["version"] for item in installs}
    del found[project["name"]]
    return found


def main() -> int:
    """Renew constraints.txt and tell how many versions it pins."""
    versions = resolve()
    lines = [f"{name}=={version}\n" for name, version in sorted(versions.items())]
    TARGET.write_text(HEADER + "".join(lines), encoding="utf-8")
    sys.stdout.write(f"constraints.txt pins {len(lines)} packages\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
