"""What ends a call with values besides the guest's own failure."""

from __future__ import annotations

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


class TooMuchError(Exception):
    """The guest returned more bytes than an answer holds."""


class MissingError(Exception):
    """The module lacks a function that its types were checked to have: an upload of an older release."""
