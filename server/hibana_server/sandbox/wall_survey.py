"""Ask which walls would stand around sandbox processes, without a server: tried in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec

from hibana_server.domain.errors import Unavailable
from hibana_server.sandbox.zygote_frames import Wall

_SECONDS = 30.0


def survey_walls() -> tuple[Wall, ...]:
    """Return what the zygote would tell at its start. Blocks for a moment; raises Unavailable."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "hibana_server.sandbox.walls.survey"],
            check=True,
            capture_output=True,
            timeout=_SECONDS,
            stdin=subprocess.DEVNULL,
            env={name: os.environ[name] for name in ("PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ},
        )
        return msgspec.json.decode(done.stdout, type=tuple[Wall, ...])
    except (OSError, subprocess.SubprocessError, msgspec.DecodeError) as error:
        raise Unavailable(f"the walls cannot be tried: {error}") from error
