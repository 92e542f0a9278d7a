"""The walls that depend on the kernel: prepared once, raised in every process that meets hostile bytes."""

from __future__ import annotations

from dataclasses import dataclass

from hibana_server.sandbox.walls import landlock, seccomp


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a wall cannot be raised, and what brings it."""

    detail: str
    fix: str


@dataclass(frozen=True, slots=True)
class Walls:
    """What is raised: all that a machine offers, or less."""

    landlock: int = 0
    """ABI of Landlock; 0 leaves it out."""
    filter: bytes = b""
    """Program for seccomp; empty leaves it out."""

    def close(self, readable: str | None) -> None:
        """Raise them around this process, which is left nothing of the file system but files below `readable`.

        The process must have given up its rights (`process.give_up_rights`) and have one thread only; threads
        it starts are confined as well. Cannot be undone. Raises OSError, and then the process must end.
        """
        if self.landlock:
            landlock.restrict(self.landlock, readable)
        if self.filter:
            seccomp.load(self.filter)


def offered() -> tuple[Walls, dict[str, Missing]]:
    """Find out what this machine offers; takes milliseconds. What is missing is told by its name."""
    missing: dict[str, Missing] = {}
    abi, program = 0, b""
    try:
        abi = landlock.abi()
    except OSError as error:
        missing["landlock"] = Missing(f"the kernel offers none ({error.strerror})", landlock.hint(error))
    try:
        program = seccomp.compile_filter()
    except seccomp.SeccompError as error:
        missing["seccomp"] = Missing(str(error), seccomp.hint())
    return Walls(abi, program), missing
