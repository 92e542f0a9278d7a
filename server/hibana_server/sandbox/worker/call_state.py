"""What host functions and output callbacks know of the call that runs. One guest at a time, so one of these."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hibana_server.sandbox.frames import FILE, LOG, LOG_OVERHEAD, OUTPUT_PIECE, Out
from hibana_server.sandbox.worker.stdin import Stdin

if TYPE_CHECKING:
    from hibana_server.sandbox.worker.files.descriptors import Files

FIRST_OBJECT = 132
"""Number of the first object: JavaScript has undefined, null, true and false at the four before."""
MAX_OBJECTS = 1000
"""Objects of one call at most."""


class GuestEnded(Exception):
    """Ends the guest from inside a host function; the reason stands in the state. Caught by the trampoline."""


def _seldom(*, otherwise: Any) -> Any:
    """Declare what few calls set: until then the class has it, and making a state takes no time for it."""
    return field(default=otherwise, init=False)


@dataclass(eq=False)
class CallState:
    """The call that runs."""

    send: Callable[[Out], None]
    """Sends a frame; safe from any thread."""
    stop: Callable[[], None]
    """Makes the guest trap at its next check; safe from any thread."""
    time_left: Callable[[], float]
    output_left: int
    """Bytes the guest may still write."""
    output_exceeded: bool = _seldom(otherwise=False)
    out_of_time: bool = _seldom(otherwise=False)
    """Set when the guest waited until its time limit."""
    abort_message: str | None = _seldom(otherwise=None)
    """Set when the guest called env.abort."""
    glue_called: str | None = _seldom(otherwise=None)
    """Import of JavaScript glue that the guest called."""
    exit_code: int | None = _seldom(otherwise=None)
    """What a program passed to proc_exit."""
    thrown_text: str | None = _seldom(otherwise=None)
    """What the guest threw, where it threw it by itself."""
    files: Files | None = _seldom(otherwise=None)
    """What the guest holds open, where the run has a private directory."""
    objects: list[bytes] | None = _seldom(otherwise=None)
    """Texts of the objects that JavaScript would hold for it."""
    recycles: bool = _seldom(otherwise=False)
    """Whether the newest object takes the place of the oldest when there are too many: in a session they add up."""
    _oldest: int = _seldom(otherwise=0)
    stdin: Stdin | None = _seldom(otherwise=None)
    """There where stdin comes while the guest runs; otherwise the engine has all of it."""
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def write(self, stream: int, data: bytes) -> bool:
        """Send output as far as the limit allows; False when the limit was reached and the guest is being ended."""
        with self._lock:
            room = self.output_left
            taken = data if len(data) <= room else data[:room]
            self.output_left = room - len(taken)
            for start in range(0, len(taken), OUTPUT_PIECE):
                self.send(Out(stream, taken[start : start + OUTPUT_PIECE]))
            if len(taken) == len(data):
                return True
            self.output_exceeded = True
        self.stop()
        return False

    def send_file(self, place: int, data: bytes | bytearray) -> bool:
        """Send a wanted file; False, and nothing is sent, where it does not fit into the limit. After the guest."""
        with self._lock:
            if len(data) > self.output_left:
                return False
            self.output_left -= len(data)
            for start in range(0, len(data), OUTPUT_PIECE):
                self.send(Out(FILE, bytes(data[start : start + OUTPUT_PIECE]), place))
            return True

    def keep(self, text: bytes) -> int:
        """Keep an object and return its number. Ends the guest when it makes too many."""
        self.objects = self.objects or []
        if len(self.objects) >= MAX_OBJECTS and self.recycles:
            place, self._oldest = self._oldest, (self._oldest + 1) % MAX_OBJECTS
            self.objects[place] = text
            return FIRST_OBJECT + place
        if len(self.objects) >= MAX_OBJECTS:
            self.abort_message = f"the guest made more than {MAX_OBJECTS} JavaScript objects"
            raise GuestEnded
        self.objects.append(text)
        return FIRST_OBJECT + len(self.objects) - 1

    def object_text(self, number: int) -> str:
        """Return the text of an object, whatever number the guest names."""
        index, objects = number - FIRST_OBJECT, self.objects or ()
        if 0 <= index < len(objects):
            return objects[index].decode("utf-8", "replace")
        return "an object that is no text"

    def log(self, line: bytes, level: int) -> None:
        """Send a log line that is not empty; one that does not fit into the limit ends the guest."""
        with self._lock:
            room = self.output_left - LOG_OVERHEAD - len(line)
            if room >= 0:
                self.output_left = room
                self.send(Out(LOG, line, level))
                return
            self.output_exceeded = True
        self.stop()
