"""Put the real `--help` of commands into README.md and docs/.

A block that begins with `$ hibana ... --help` shows what that prints on a terminal of 80 columns.
`python tools/help_blocks.py` rewrites what has changed; a test compares.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs/clients.md")
_BLOCK = re.compile(r"^```console\n\$ (hibana(?:-server)?(?: [a-z-]+)* --help)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def help_of(command: str) -> str:
    """Return what a command line ending in --help prints, without spaces at the ends of lines."""
    program, *words = command.split()
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("HIBANA_", "FORCE_", "PY_COLORS"))
    }
    done = subprocess.run(
        [Path(sys.executable).with_name(program), *words],
        env={**kept, "COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    return "\n".join(lines).strip("\n") + "\n"


def refreshed(text: str) -> tuple[str, int]:
    """Return a page with the help as it is, and the number of its blocks."""
    return _BLOCK.subn(lambda match: f"```console\n$ {match[1]}\n{help_of(match[1])}```", text)


def main() -> int:
    """Rewrite the pages."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        new, _ = refreshed(text)
        if new != text:
            page.write_text(new, encoding="utf-8")
            print(f"{page.relative_to(ROOT)} shows the help as it is now")
    return 0


if __name__ == "__main__":
    sys.exit(main())
