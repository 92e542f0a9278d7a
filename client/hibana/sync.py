"""The client for code without an event loop: scripts, notebooks, threads.

    with hibana.SyncClient() as client:
        print(client.run("user/add", "add", 2, 3).value)
        for module in client.modules():
            print(module.reference)

There is one implementation: every method here is made from the one of `hibana.Client`, with its
parameters, types and documentation, and runs it on an event loop in a thread of its own.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from hibana.background import BackgroundLoop
from hibana.client import Client
from hibana.errors import HibanaError
from hibana.events import Event, Result
from hibana.execution_types import OutputFile
from hibana.executions import START
from hibana.listing import Listing, Page
from hibana.session_types import CallResult, SessionEvent
from hibana.sessions import Session
from hibana.stream import EventStream

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")

_END: Any = object()


class SyncListing(Generic[T]):
    """A list that is fetched page by page while it is read: `for item in client.modules()`."""

    def __init__(self, listing: Listing[T], loop: BackgroundLoop) -> None:
        self._listing = listing
        self._loop = loop

    def page(self, token: str = "") -> Page[T]:
        """Fetch the first page, or the one a page before named in `next_page_token`."""
        return self._loop.run(self._listing.page(token))

    def pages(self) -> Iterator[Page[T]]:
        """Run through the pages."""
        return _iterate(self._listing.pages(), self._loop)

    def __iter__(self) -> Iterator[T]:
        """Run through the items of all pages."""
        return _iterate(aiter(self._listing), self._loop)


class SyncEventStream:
    """Events of one call as they come; leaving it early kills the guest, unless it was made by `watch`.

    with client.stream("user/hello") as events:
        for event in events: ...
    """

    def __init__(self, events: EventStream, loop: BackgroundLoop) -> None:
        self._events = events
        self._loop = loop

    @property
    def execution(self) -> str:
        """Return the name of the execution; empty before the first event."""
        return self._events.execution

    def cancel(self) -> None:
        """Kill the guest, or stop watching; whoever reads the events gets Cancelled. Works from other threads too."""
        self._loop.call(self._events.cancel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    def __iter__(self) -> Iterator[Event]:
        """Run through the events, once. Raises HibanaError when the call is refused or breaks."""
        return _iterate(aiter(self._events), self._loop)


class SyncSession:
    """An open session: `with client.session("user/counter") as session`. See `hibana.Session`."""

    def __init__(self, session: Session, loop: BackgroundLoop) -> None:
        self._session = session
        self._loop = loop

    def __enter__(self) -> Self:
        self._loop.run(self._session.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run(self._session.__aexit__(kind, error, trace))

    @property
    def execution(self) -> str:
        """Return the name of the session's record; empty where every call has one of its own."""
        return self._session.execution

    @property
    def result(self) -> Result | None:
        """Return how the session ended; None while it has not."""
        return self._session.result

    @property
    def files(self) -> Mapping[str, OutputFile]:
        """Return the files that were asked for and that the instance left; empty until the session ended."""
        return self._session.files

    def call(
        self, function: str = START, *args: Any, timeout: float | None = None, memory: int | None = None
    ) -> CallResult:
        """Call a function and return how it ended, as `hibana.Session.call` does."""
        return self._loop.run(self._session.call(function, *args, timeout=timeout, memory=memory))

    def call_many(
        self,
        calls: Iterable[Sequence[Any]],
        *,
        timeout: float | None = None,
        memory: int | None = None,
        return_errors: bool = False,
    ) -> list[CallResult | HibanaError]:
        """Make many calls, `(function, *args)` each, as `hibana.Session.call_many` does."""
        return self._loop.run(
            self._session.call_many(calls, timeout=timeout, memory=memory, return_errors=return_errors)
        )

    def cancel_call(self, call_id: int) -> None:
        """Cancel a call. On one instance a call that has begun takes the session along."""
        self._loop.run(self._session.cancel_call(call_id))

    def stdin(self, data: bytes) -> None:
        """Pass bytes to the stdin of the guest; waits while it reads slower than they come."""
        self._loop.run(self._session.stdin(data))

    def end_stdin(self) -> None:
        """End stdin: the guest reads to here."""
        self._loop.run(self._session.end_stdin())

    def events(self) -> Iterator[SessionEvent]:
        """Run through everything that happens from now on, up to the end of the session."""
        return _iterate(aiter(self._session.events()), self._loop)

    def close(self) -> Result | None:
        """End the session when all is answered and return how it ended. Safe to call twice."""
        return self._loop.run(self._session.close())

    def cancel(self) -> None:
        """End the session at once. Works from other threads too."""
        self._loop.call(self._session.cancel)


def _iterate(items: AsyncIterator[T], loop: BackgroundLoop) -> Iterator[T]:
    try:
        while (item := loop.run(_next(items))) is not _END:
            yield item
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            loop.finish(close())


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items, _END)


class _Made(Generic[P, R]):
    """A method of SyncClient made from one of Client. Called with the result of that, `turn` gives its own."""

    def __init__(self, method: Callable[..., Any], turn: Callable[[Any, BackgroundLoop], R]) -> None:
        self._method = method
        self._turn = turn
        functools.update_wrapper(self, method)

    @functools.cached_property
    def _signature(self) -> inspect.Signature:
        whole = inspect.signature(self._method)
        return whole.replace(parameters=list(whole.parameters.values())[1:])

    @overload
    def __get__(self, instance: None, owner: type[SyncClient]) -> Self: ...
    @overload
    def __get__(self, instance: SyncClient, owner: type[SyncClient]) -> Callable[P, R]: ...
    def __get__(self, instance: SyncClient | None, owner: type[SyncClient]) -> Self | Callable[P, R]:
        """Bind to a client, as a function with the parameters of the method it was made from."""
        if instance is None:
            return self
        method, turn = self._method, self._turn

        @functools.wraps(method)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return turn(method(instance._client, *args, **kwargs), instance._loop)  # noqa: SLF001 - one class in two parts

        call.__signature__ = self._signature  # type: ignore[attr-defined] # what inspect and notebooks show
        return call

    def __call__(self, client: SyncClient, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call as `SyncClient.method(client, ...)`."""
        return self.__get__(client, type(client))(*args, **kwargs)


def _waits(method: Callable[Concatenate[Client, P], Coroutine[Any, Any, R]]) -> _Made[P, R]:
    return _Made(method, lambda work, loop: loop.run(work))


def _lists(method: Callable[Concatenate[Client, P], Listing[T]]) -> _Made[P, SyncListing[T]]:
    return _Made(method, SyncListing)


def _streams(method: Callable[Concatenate[Client, P], EventStream]) -> _Made[P, SyncEventStream]:
    return _Made(method, SyncEventStream)


def _sessions(method: Callable[Concatenate[Client, P], Session]) -> _Made[P, SyncSession]:
    return _Made(method, SyncSession)


def _as(
    method: Callable[Concatenate[Client, P], None],
) -> Callable[[Callable[..., None]], Callable[Concatenate[SyncClient, P], None]]:
    """Give a method the parameters of another, for type checkers and `inspect` alike."""
    return functools.wraps(method)


class SyncClient:
    """Talk to a Hibana service without an event loop. Parameters as for `hibana.Client`.

    Any thread may call it, several at the same time too. Callbacks (progress, token functions)
    run in the client's own thread. Ctrl-C during a run kills the guest.
    """

    @_as(Client.__init__)
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._client = Client(*args, **kwargs)
        self._loop = BackgroundLoop()
        # Also at the end of the program: a daemon thread must not run on while Python shuts down.
        self._end = weakref.finalize(self, _close, self._client, self._loop)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; what still runs is cancelled. Safe to call twice."""
        self._end()

    upload = _waits(Client.upload)
    inspect = _waits(Client.inspect)
    module = _waits(Client.module)
    version = _waits(Client.version)
    modules = _lists(Client.modules)
    versions = _lists(Client.versions)
    test_access = _waits(Client.test_access)
    stats = _waits(Client.stats)
    update = _waits(Client.update)
    share = _waits(Client.share)
    publish = _waits(Client.publish)
    delete = _waits(Client.delete)
    undelete = _waits(Client.undelete)
    delete_version = _waits(Client.delete_version)
    transfer = _waits(Client.transfer)
    download = _waits(Client.download)
    download_bytes = _waits(Client.download_bytes)
    run = _waits(Client.run)
    stream = _streams(Client.stream)
    session = _sessions(Client.session)
    start = _waits(Client.start)
    watch = _streams(Client.watch)
    execution = _waits(Client.execution)
    executions = _lists(Client.executions)
    execution_stats = _waits(Client.execution_stats)
    replay = _waits(Client.replay)
    cancel = _waits(Client.cancel)
    quota = _waits(Client.quota)
    set_quota = _waits(Client.set_quota)
    quotas = _lists(Client.quotas)
    create_api_key = _waits(Client.create_api_key)
    api_keys = _lists(Client.api_keys)
    revoke_api_key = _waits(Client.revoke_api_key)
    audit_entries = _lists(Client.audit_entries)
    raw = _waits(Client.raw)


def _close(client: Client, loop: BackgroundLoop) -> None:
    loop.stop(client.close())
