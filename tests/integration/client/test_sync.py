"""The client without an event loop."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import hibana
from tests.framework.server import Server

Guest = Callable[[str], bytes]


@pytest.fixture(scope="module")
def sync(server: Server, guest: Guest) -> Iterator[hibana.SyncClient]:
    with hibana.SyncClient(server.address, token=server.token("sync-client")) as client:
        for name in ("numbers", "cat", "endless"):
            client.upload(guest(f"client_{name}"), name=name, version="1.0.0")
        yield client


def test_a_call_returns_what_the_asynchronous_one_does(sync: hibana.SyncClient) -> None:
    result = sync.run("user/numbers", "add", 2, 40)
    assert (result.value, result.outcome) == (42, hibana.Outcome.OK)
    assert sync.module("user/numbers").module_name == "numbers"
    assert sync.execution(result.execution).function == "add"


def test_lists_are_read_with_for(sync: hibana.SyncClient) -> None:
    listing = sync.modules(owner="sync-client", page_size=2)
    assert {module.module_name for module in listing} == {"numbers", "cat", "endless"}
    assert [len(page.items) for page in listing.pages()] == [2, 1]
    first = listing.page()
    assert (first.total_size, len(listing.page(first.next_page_token).items)) == (3, 1)


def test_events_are_read_with_for(sync: hibana.SyncClient) -> None:
    with sync.stream("user/cat", stdin=b"hello") as events:
        seen = list(events)
    assert [type(event) for event in seen] == [hibana.Started, hibana.Stdout, hibana.Result]
    assert events.execution.startswith("executions/")


def test_leaving_the_events_early_kills_the_guest(sync: hibana.SyncClient) -> None:
    with sync.stream("user/endless") as events:
        for event in events:
            if isinstance(event, hibana.Stdout):
                break
    assert ended(sync, events.execution) is hibana.Outcome.CANCELLED


def test_another_thread_can_cancel(sync: hibana.SyncClient) -> None:
    events = sync.stream("user/endless")

    def read() -> None:
        for event in events:
            if isinstance(event, hibana.Stdout):
                threading.Thread(target=events.cancel).start()

    with pytest.raises(hibana.Cancelled):
        read()
    assert ended(sync, events.execution) is hibana.Outcome.CANCELLED


def ended(sync: hibana.SyncClient, name: str) -> hibana.Outcome | None:
    while (record := sync.execution(name)).state is not hibana.State.DONE:
        pass  # the service hears of the end of the call a moment later
    return record.outcome


def test_errors_are_the_same(sync: hibana.SyncClient) -> None:
    with pytest.raises(hibana.NotFound) as caught:
        sync.module("user/nothing")
    assert caught.value.reason == "NOT_FOUND"
    with pytest.raises(hibana.ConfigError):
        sync.update("user/numbers")


def test_threads_may_share_a_client(sync: hibana.SyncClient) -> None:
    values: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: values.append(sync.run("user/numbers", "add", n, 0).value))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(values) == list(range(8))


async def test_it_works_where_a_loop_runs_already(sync: hibana.SyncClient) -> None:
    assert asyncio.get_running_loop().is_running()
    assert sync.run("user/numbers", "add", 1, 1).value == 2


def test_a_callback_that_calls_the_client_is_told_instead_of_hanging(server: Server) -> None:
    def token() -> str:
        client.module("user/x")
        return ""

    client = hibana.SyncClient(server.address, token=token)
    with pytest.raises(hibana.ConfigError, match="callback"):
        client.module("user/x")
    client.close()


def test_a_closed_client_says_so_and_leaves_no_thread(server: Server) -> None:
    client = hibana.SyncClient(server.address, token=server.token("sync-closing"))
    assert not client._loop.started
    client.modules().page()
    thread = client._loop._thread
    assert thread is not None
    assert thread.is_alive()
    client.close()
    client.close()
    assert not thread.is_alive()
    with pytest.raises(hibana.ConfigError, match="closed"):
        client.module("user/x")


def test_a_client_that_is_forgotten_leaves_no_thread(server: Server) -> None:
    client = hibana.SyncClient(server.address, token=server.token("sync-forgotten"))
    client.modules().page()
    thread = client._loop._thread
    assert thread is not None
    del client
    gc.collect()
    assert not thread.is_alive()


def test_a_client_may_be_collected_in_its_own_thread(server: Server) -> None:
    held = [hibana.SyncClient(server.address, token=server.token("sync-collected"))]
    held[0].modules().page()
    loop, thread = held[0]._loop, held[0]._loop._thread
    assert thread is not None
    loop.call(held.clear)
    thread.join(20)
    assert not thread.is_alive()


def test_events_may_be_collected_in_the_clients_own_thread(sync: hibana.SyncClient) -> None:
    events = sync.stream("user/endless")
    held = [iter(events)]
    while not isinstance(next(held[0]), hibana.Stdout):
        pass
    sync._loop.call(held.clear)
    assert ended(sync, events.execution) is hibana.Outcome.CANCELLED


SCRIPT = """
import hibana
client = hibana.SyncClient()
print(client.run("user/numbers", "add", 2, 3).value, flush=True)
for event in client.stream("user/endless"):
    if isinstance(event, hibana.Started):
        print(event.execution, flush=True)
    if isinstance(event, hibana.Stdout):
        print("ready", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, None], ids=["ctrl-c", "end"])
def test_a_script_that_ends_without_closing_kills_its_guest_and_ends(
    sync: hibana.SyncClient, server: Server, tmp_path: Path, number: signal.Signals | None
) -> None:
    script = SCRIPT if number else SCRIPT + "        break\n"
    environ = {"HIBANA_ADDRESS": server.address, "HIBANA_TOKEN": server.token("sync-client"), "HOME": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "5\n"
        name = running.stdout.readline().strip()
        assert running.stdout.readline() == "ready\n"
        if number:
            running.send_signal(number)
        _, told = running.communicate(timeout=20)
    if number:
        assert "KeyboardInterrupt" in told
    else:
        assert (running.returncode, told) == (0, "")
    assert ended(sync, name) is hibana.Outcome.CANCELLED
