"""What differential tests of the rules share: who asks, what a call was answered, and what the table says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from hibana_server.domain.access import UNKNOWN_VERSION, Action, Belonging, Denied, NewKey, decide, refusal
from hibana_server.domain.callers import Caller, Role
from hibana_server.domain.errors import FailedPrecondition, NotFound, PermissionDenied
from hibana_server.domain.modules import Module
from tests.framework.refusals import ended, unpack
from tests.framework.stubs import Stubs

CALLERS = {
    "ann": Role.USER,
    "ben": Role.USER,
    "cleo": Role.USER,
    "svc": Role.SERVICE,
    "boss": Role.ADMIN,
    "chief": Role.ADMIN,
}
YES, UNKNOWN, UNKNOWN_LABEL, FORBIDDEN, DISABLED = "yes", "unknown", "unknown version", "forbidden", "disabled"
WHAT_IS_WRONG_BESIDES = {"ETAG_MISMATCH", "VERSION_LIVE", "MODULE_DELETED", "EXECUTION_ENDED"}
"""Reasons of refusals that come after the rules have granted."""


Ask = Callable[[Stubs, str], Any]


async def answered(call: Any) -> str:
    """Make a call and tell how the rules decided."""
    try:
        await ended(call)
    except grpc.aio.AioRpcError as error:
        told = unpack(error)
        if told.reason in WHAT_IS_WRONG_BESIDES:
            return YES
        if told.message == UNKNOWN_VERSION:
            return UNKNOWN_LABEL
        kinds = {"NOT_FOUND": UNKNOWN, "NOT_ALLOWED": FORBIDDEN, "MODULE_DISABLED": DISABLED}
        return kinds.get(told.reason, f"{told.told} {told.message}")
    return YES


def expected(
    caller: Caller, action: Action, about: Module | Belonging | NewKey | None, *, published: bool = True
) -> str:
    """Tell what the table says."""
    decision = decide(caller, action, about, published=published)
    if not isinstance(decision, Denied):
        return YES
    error = refusal(decision)
    if error.message == UNKNOWN_VERSION:
        return UNKNOWN_LABEL
    return {NotFound: UNKNOWN, PermissionDenied: FORBIDDEN, FailedPrecondition: DISABLED}[type(error)]
