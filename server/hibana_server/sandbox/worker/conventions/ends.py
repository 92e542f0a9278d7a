"""What ends a call with values besides the guest's own failure."""

from __future__ import annotations

from hibana_server.domain.executions import HANDLE_INVALID, HANDLES_FULL
from hibana_server.sandbox.worker.native import Failure


class FailedError(Exception):
    """A function of the guest failed; the engine told why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__()
        self.failure = failure


class BadOutputError(Exception):
    """What the guest gave cannot be read; the text completes "the guest ..."."""


class ThrownError(Exception):
    """The guest threw an error, with this text."""


class RefusedError(Exception):
    """The call never ran, since an object it names is not there; the text says which and what to do."""

    def __init__(self, text: str, *, full: bool = False) -> None:
        """`full`: the session holds as many objects as it may."""
        super().__init__(text)
        self.code = HANDLES_FULL if full else HANDLE_INVALID


class TooMuchError(Exception):
    """The guest returned more bytes than an answer holds."""


class MissingError(Exception):
    """The module lacks a function that its types were checked to have: an upload of an older release."""
