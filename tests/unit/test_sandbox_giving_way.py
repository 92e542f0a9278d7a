"""A thread that gives way is interrupted again and again, until it stops that."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

from hibana_server.sandbox.giving_way import GivingWay

SECONDS = 10


@pytest.fixture
def blocked() -> Iterator[None]:
    """Keep the signal from this thread, so that it can be waited for."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGURG})
    yield
    while signal.sigtimedwait({signal.SIGURG}, 0) is not None:
        pass
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.mark.usefixtures("blocked")
def test_the_thread_that_began_it_is_interrupted_until_it_ends_it() -> None:
    giving_way = GivingWay()
    giving_way.begin()
    for _ in range(3):
        assert signal.sigtimedwait({signal.SIGURG}, SECONDS) is not None
    giving_way.end()
    while signal.sigtimedwait({signal.SIGURG}, 0) is not None:
        pass
    assert signal.sigtimedwait({signal.SIGURG}, 0.05) is None
    giving_way.end()


def test_a_thread_survives_being_interrupted_and_others_are_left_alone() -> None:
    giving_way = GivingWay()
    rounds = 0

    def compute() -> None:
        nonlocal rounds
        giving_way.begin()
        waiting = threading.Event()
        for _ in range(20):
            waiting.wait(0.002)
            rounds += 1
        giving_way.end()

    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGURG})
    try:
        thread = threading.Thread(target=compute)
        thread.start()  # it inherits the mask, so what arrives here would be kept
        thread.join()
        assert signal.sigtimedwait({signal.SIGURG}, 0) is None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert rounds == 20
