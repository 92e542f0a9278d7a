"""The shorter ways through gRPC answer what gRPC's own would."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import partial
from types import ModuleType
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from hibana_server.rpc.grpc_shortcuts import is_async, take, wait, working_loop

INSIDE = vars(importlib.import_module("grpc._cython.cygrpc"))
Future = asyncio.Future[Any]


# -------------------------------------------------------------------------------------------------------------- waiting


async def test_what_is_over_is_not_waited_for() -> None:
    over: Future = asyncio.get_running_loop().create_future()
    over.set_result(7)
    assert await wait({over: None}.keys(), return_when=asyncio.FIRST_COMPLETED) == ({over}, set())


@pytest.mark.parametrize("error", [None, ValueError("its own"), asyncio.CancelledError()])
async def test_the_end_of_one_is_told_however_it_ends(error: BaseException | None) -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        if error is not None:
            raise error
        return 7

    task = asyncio.create_task(work())
    assert await wait([task]) == ({task}, set())
    assert task.done()
    assert task.cancelled() == isinstance(error, asyncio.CancelledError)
    if isinstance(error, ValueError):
        assert task.exception() is error


@pytest.mark.parametrize("stubborn", [False, True])
async def test_whoever_waits_can_be_cancelled(stubborn: bool) -> None:
    async def work() -> None:
        with suppress(asyncio.CancelledError) if stubborn else nullcontext():
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    waiting = asyncio.create_task(wait([task]))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting, task])
    assert task.cancelled() is not stubborn
    # Where the work made nothing of it, it is over, which is what was waited for: as with any await.
    assert waiting.cancelled() is not stubborn


async def test_several_go_the_way_they_went() -> None:
    loop = asyncio.get_running_loop()
    first, second = loop.create_future(), loop.create_future()
    loop.call_soon(first.set_result, 1)
    assert await wait([first, second], return_when=asyncio.FIRST_COMPLETED) == ({first}, {second})
    assert await wait([second], timeout=0.001) == (set(), {second})
    second.cancel()


# ---------------------------------------------------------------------------------------------------------------- kinds


class _Methods:
    async def coroutine(self) -> None: ...

    def plain(self) -> None: ...

    async def __call__(self) -> None: ...


async def _generator() -> Any:
    yield 1


async def _coroutine() -> None: ...


KINDS: tuple[Callable[..., Any], ...] = (
    _coroutine,
    _generator,
    lambda: None,
    partial(_coroutine),
    _Methods().coroutine,
    _Methods().plain,
    _Methods(),
    len,
)


@pytest.mark.parametrize("handler", KINDS)
def test_methods_are_judged_as_grpc_does(handler: Callable[..., Any]) -> None:
    here = INSIDE["_is_async_handler"]
    theirs = here.args[0] if isinstance(here, partial) else here
    assert is_async(theirs, handler) == theirs(handler)
    assert is_async(pytest.fail, _coroutine)


async def test_the_loop_that_runs_is_the_one() -> None:
    assert working_loop(pytest.fail) is asyncio.get_running_loop()
    other = asyncio.new_event_loop()
    try:
        assert await asyncio.to_thread(working_loop, lambda: other) is other
    finally:
        other.close()


# --------------------------------------------------------------------------------------------------------------- taking


@pytest.mark.parametrize("strange", ["asyncio", "_is_async_handler", "get_working_loop", "another asyncio"])
def test_another_grpc_goes_its_own_way_and_a_line_tells(strange: str, monkeypatch: pytest.MonkeyPatch) -> None:
    other = ModuleType("cygrpc")
    vars(other).update({"asyncio": asyncio, "_is_async_handler": len, "get_working_loop": len})
    if strange == "another asyncio":
        strange, vars(other)["asyncio"] = "asyncio", ModuleType("asyncio")
    else:
        del vars(other)[strange]
    before = dict(vars(other))
    monkeypatch.setattr(importlib, "import_module", lambda _name: other)
    with capture_logs() as lines:
        take()
    assert vars(other) == before
    told = {"event": "grpc_shortcuts_not_taken", "log_level": "warning", "grpcio": grpc.__version__}
    assert lines == [{**told, "strange": [strange]}]
