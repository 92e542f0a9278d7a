"""What the front asks of a zygote and what it answers; both sides share it."""

from __future__ import annotations

from typing import Final

import msgspec

MAX_REQUEST = 64 * 1024
"""Longest request, bytes: one message of the socket."""
MAX_DESCRIPTORS = 8
"""Most descriptors that come with one request."""
NOT_CONFINED_STATUS: Final = 77
"""Exit status of a worker around which a wall did not rise."""


class Spawn(msgspec.Struct, array_like=True, frozen=True):
    """Front to zygote, with the descriptors that the process is to have: fork one."""

    request: int
    job: bytes
    """What the process is for, as its kind encodes it."""


class Spawned(msgspec.Struct, array_like=True, tag=1, frozen=True):
    """Zygote to front, with the pidfd; pid 0 when the fork failed (and no pidfd)."""

    request: int
    pid: int


class Exited(msgspec.Struct, array_like=True, tag=2, frozen=True):
    """Zygote to front: a process ended."""

    pid: int
    status: int
    """As of waitpid."""
    cpu_seconds: float


class Wall(msgspec.Struct, array_like=True, frozen=True):
    """Whether one of the walls around every worker stands on this machine, as tried in a process of its own."""

    name: str
    stands: bool
    detail: str
    """What it denies, or why it does not stand."""
    fix: str
    """What would make it stand, or deny more; empty when nothing is amiss."""


class Surveyed(msgspec.Struct, array_like=True, tag=3, frozen=True):
    """Zygote to front, before anything else: the walls each worker will have. One that cannot raise them ends."""

    walls: tuple[Wall, ...]


FromZygote = Spawned | Exited | Surveyed

encoder: Final = msgspec.msgpack.Encoder()
spawn_decoder: Final = msgspec.msgpack.Decoder(Spawn)
zygote_decoder: Final[msgspec.msgpack.Decoder[FromZygote]] = msgspec.msgpack.Decoder(FromZygote)
