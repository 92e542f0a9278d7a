"""Exit codes of `hibana`. They are stable: scripts rely on them."""

from __future__ import annotations

from hibana import errors

OK = 0
GUEST_FAILED = 1
USAGE = 2
"""Wrong options, wrong settings, a file that cannot be read: nothing was sent."""
REFUSED = 3
"""The service answered with an error."""
UNREACHABLE = 4
"""No connection, or no answer in time."""
DEFECT = 70
"""A defect of this program (EX_SOFTWARE)."""
INTERRUPTED = 130
"""Ctrl-C: 128 + SIGINT, as shells have it. The guest is killed."""
PIPE_CLOSED = 141
"""Whoever read the output went away: 128 + SIGPIPE, as shells have it. The guest is killed."""


def exit_code(error: errors.HibanaError) -> int:
    """Return the exit code for an error."""
    if isinstance(error, errors.GuestFailed):
        return GUEST_FAILED
    if isinstance(error, errors.ServiceError):
        return REFUSED
    if isinstance(error, errors.Unreachable):
        return UNREACHABLE
    return USAGE
