"""Unit tests open no network socket; one that tries fails here instead of depending on the machine."""

from __future__ import annotations

import socket
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    # Socket pairs of the event loop and of channels to child processes are local and stay allowed.
    init = socket.socket.__init__

    def guarded(self: socket.socket, family: int = -1, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("fileno") is None and len(args) < 3 and family in {-1, socket.AF_INET, socket.AF_INET6}:
            pytest.fail("a unit test opened a network socket; it belongs to tests/integration")
        init(self, family, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "__init__", guarded)
