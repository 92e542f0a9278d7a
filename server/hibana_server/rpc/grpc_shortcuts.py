"""Shorter ways through what grpc.aio does in Python around every call (ADR 34).

Between two calls its server waits with `asyncio.wait`, for one future as a rule; it asks `inspect` whether the method
is a coroutine function, and once for the running event loop, spelling a line for its debug log first: 23 Python
functions a call. Here are the answers for the usual cases; everything else goes the way it went.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import Callable, Collection
from functools import partial
from types import FunctionType, ModuleType
from typing import Any

import grpc
import structlog

log = structlog.get_logger("hibana.rpc")

_Future = asyncio.Future[Any]


async def wait(
    futures: Collection[_Future], *, timeout: float | None = None, return_when: str = asyncio.ALL_COMPLETED
) -> tuple[set[_Future], set[_Future]]:
    """Be `asyncio.wait` for gRPC's server, which waits for one task of its own that nobody else cancels.

    Such a task is awaited: whoever cancels the wait cancels it, and one that is done is returned without a pause.
    """
    if len(futures) != 1 or timeout is not None:
        return await asyncio.wait(futures, timeout=timeout, return_when=return_when)
    (only,) = futures
    if not only.done():
        try:
            await only
        except asyncio.CancelledError:
            waiting = asyncio.current_task()
            if waiting is not None and waiting.cancelling():
                raise
        except Exception:  # noqa: BLE001, S110 - whoever waits asks the future how it ended
            pass
    return {only}, set()


def is_async(otherwise: Callable[[Any], bool], handler: Any) -> bool:
    """Tell whether a method is asynchronous; `otherwise` tells it of all but plain coroutine functions."""
    if type(handler) is FunctionType and handler.__code__.co_flags & inspect.CO_COROUTINE:
        return True
    return otherwise(handler)


def working_loop(otherwise: Callable[[], asyncio.AbstractEventLoop]) -> asyncio.AbstractEventLoop:
    """Return the event loop that runs; `otherwise` finds or makes one where none does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return otherwise()


def take() -> None:
    """Have gRPC take them in this process, from the event loop's thread; harmless where it does.

    What it looks up in its own module is changed there alone: nobody else's asyncio is touched. A release that is made
    differently goes its own way, and a line tells.
    """
    inside = vars(importlib.import_module("grpc._cython.cygrpc"))
    if getattr(inside.get("asyncio"), "wait", None) is wait:
        return
    strange = sorted(name for name in ("asyncio", *_OWN) if name not in inside)
    if strange or inside["asyncio"] is not asyncio:
        log.warning("grpc_shortcuts_not_taken", grpcio=grpc.__version__, strange=strange or ["asyncio"])
        return
    own = ModuleType(asyncio.__name__)
    vars(own).update(vars(asyncio), wait=wait)
    inside["asyncio"] = own
    for name, shortcut in _OWN.items():
        inside[name] = partial(shortcut, inside[name])


_OWN: dict[str, Callable[..., Any]] = {"_is_async_handler": is_async, "get_working_loop": working_loop}
"""Functions of gRPC, each with what is asked before it."""
