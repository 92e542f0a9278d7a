"""How fast output streams: events and bytes a second that a reader gets from one run."""

from __future__ import annotations

import time

import grpc

from hibana.v1 import execution_pb2, executor_pb2, executor_pb2_grpc
from tests.framework.server import Server

LINES = 20_000
CHATTY = f"""
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "a line of output with sixty-four bytes in it, counting this end.\\n")
  (func (export "_start") (local $n i32)
    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (i32.const 64))
    (loop $again
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $n) (i32.const {LINES}))))))
"""
"""A WASI program that writes LINES lines, each with a write of its own."""


def measure(server: Server) -> dict[str, float]:
    """Run the chatty program once to warm up and once to measure."""
    events = size = 0
    seconds = 0.0
    metadata = (("authorization", f"Bearer {server.token('bench')}"),)
    request = executor_pb2.ExecuteRequest(module="user/chatty")
    with grpc.insecure_channel(server.address) as channel:
        stub = executor_pb2_grpc.ExecutorStub(channel)
        for _ in range(2):
            begin = time.perf_counter()
            events = size = 0
            for answer in stub.Execute(request, metadata=metadata):
                if answer.event.WhichOneof("event") == "stdout":
                    events, size = events + 1, size + len(answer.event.stdout)
                elif answer.event.WhichOneof("event") == "result":
                    assert answer.event.result.outcome == execution_pb2.OUTCOME_OK
            seconds = time.perf_counter() - begin
    assert size == LINES * 64
    return {
        "stdout writes/s": LINES / seconds,
        "stdout events/s": events / seconds,
        "stdout MB/s": size / seconds / 1e6,
    }
