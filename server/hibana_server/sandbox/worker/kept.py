"""What a conversation calls: an instance that is kept between calls, whatever kind of module it is of.

`KeptCore` keeps an instance of a core module, `FreshInstances` makes one for every call. A component's instance is a
third: it needs nothing but these methods.
"""

from __future__ import annotations

from typing import Protocol

from hibana_server.sandbox.frames import Call
from hibana_server.sandbox.worker.outcomes import End


class Kept(Protocol):
    """What calls are made to. For the guest's thread, one call at a time.

    Output goes out by the state that the host functions see (`Linker.state`), which is set while something of the
    guest runs.
    """

    over: bool
    """Whether nothing more can be called: the guest ended as it should not, or the program has exited."""

    @property
    def memory_bytes(self) -> int:
        """Size of the guest's memory: its peak, since no memory shrinks."""

    def open(self) -> End:
        """Make ready; an end other than OK tells why that failed, and nothing is called then."""

    def call(self, call: Call, timeout: float) -> End:
        """Call a function within this time, seconds. Whatever a guest does is told by the end, never raised."""

    def close(self) -> None:
        """Let go of everything; harmless when that was done."""
