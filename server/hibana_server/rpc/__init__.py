"""The gRPC edge: unpack a request, call one service method, pack the answer."""

from __future__ import annotations

import os

# Read by gRPC's core when it is loaded, which the modules of this package do. Connections are then read by the thread
# that waits for their calls, without handing each message through the threads of a pool (ADR 33).
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")
