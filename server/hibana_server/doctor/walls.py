"""Which walls stand around sandbox processes, and whether those stand that the settings require."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from hibana_server.doctor.check import Check, State
from hibana_server.sandbox.wall_survey import survey_walls
from hibana_server.sandbox.zygote_frames import Wall
from hibana_server.settings.model import Settings


def examine_walls(settings: Settings) -> Iterator[Check]:
    """Try each wall in a child process. Raises Unavailable."""
    for wall in survey_walls():
        yield judge(wall, settings.sandbox.require_walls)


def judge(wall: Wall, required: Collection[str]) -> Check:
    """Turn a wall into a check: a missing one is a warning, a missing one that is required is a failure."""
    if wall.stands:
        state = State.WARN if wall.fix else State.OK
    else:
        state = State.FAIL if wall.name in required else State.WARN
    detail = wall.detail if wall.stands or wall.name not in required else f"required: {wall.detail}"
    return Check(f"wall {wall.name}", state, detail, wall.fix)
