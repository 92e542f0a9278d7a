"""What a person at the terminal is told when the service is ready."""

from __future__ import annotations

import contextlib
import shutil
import sys
from pathlib import Path


def greet(listen: object, http: object | None, data_dir: Path) -> None:
    """Tell a person how to call the service; programs read the `ready` line of the log."""
    bin_dir = Path(sys.executable).parent
    # As typed here: plain where the commands are on PATH, otherwise with the directory they are in.
    prefix = "" if shutil.which("hibana-server") == str(bin_dir / "hibana-server") else f"{_short(bin_dir)}/"
    ops = f"; http://{http}/healthz and /metrics" if http else ""
    text = f"""\
Hibana serves gRPC on {listen}{ops}

  export HIBANA_ADDRESS={listen}
  export HIBANA_TOKEN=$({prefix}hibana-server token --subject you --data-dir {_short(data_dir)})
  {prefix}hibana modules list
  grpcurl -plaintext -H "authorization: Bearer $HIBANA_TOKEN" {listen} list

Ctrl-C stops it; running calls end first.
"""
    with contextlib.suppress(OSError):
        print(text, flush=True)  # noqa: T201 - this is what the person at the terminal waits for


def _short(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
