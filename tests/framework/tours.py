"""Run the examples that a page shows, against a real server, and compare what they print with what the page says."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.framework.markdown import Block, pattern
from tests.framework.server import Server

ADDRESS = "127.0.0.1:50051"
"""Where `make serve` listens, and so what the examples say."""
SECONDS = 50.0
PREPARE = """\
export PATH="$PWD/.venv/bin:$PATH" HIBANA_ADDRESS=127.0.0.1:50051
export HIBANA_TOKEN=$(hibana-server token --subject alice)
"""
"""What the README's tour has set up for the examples of the other pages."""


def run(script: str, checkout: Path, server: Server, seconds: float = SECONDS) -> str:
    """Run a script as somebody in that directory would; every command must succeed. Return what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HIBANA_", "XDG_"))}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace(ADDRESS, server.address)],
        cwd=checkout,
        env={**kept, "HOME": str(checkout)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check(examples: list[Block], prepare: str, checkout: Path, server: Server, seconds: float = SECONDS) -> list[str]:
    """Run examples one after the other in one shell and compare with the outputs shown; return the real ones."""
    mark = "--- the next example"
    steps = [prepare]
    for block in examples:
        if block.language == "sh":
            steps.append(block.text)
        elif block.language == "python":
            steps.append(f"python - <<'PYTHON'\n{block.text}PYTHON\n")
    outputs = run(f"\necho '{mark}'\n".join(steps), checkout, server, seconds).split(f"{mark}\n")[1:]
    position = -1
    for block in examples:
        if block.language in ("sh", "python"):
            position += 1
        else:
            assert pattern(block.text).search(outputs[position]), f"shown:\n{block.text}\nreal:\n{outputs[position]}"
    return outputs
