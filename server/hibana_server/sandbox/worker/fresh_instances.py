"""Calls of a conversation that each get an instance of their own."""

from __future__ import annotations

from hibana_server.domain.executions import Outcome
from hibana_server.sandbox.component_memory import component
from hibana_server.sandbox.frames import Call, Open, Run
from hibana_server.sandbox.worker.outcomes import End
from hibana_server.sandbox.worker.runner import Runner

_GOOD = frozenset({Outcome.OK, Outcome.EXIT})


class FreshInstances:
    """`Kept` for calls that share nothing but the compiled module."""

    def __init__(self, runner: Runner, opened: Open) -> None:
        self._runner = runner
        self._opened = opened
        self.memory_bytes = 0
        """Of the last call."""
        self.cpu_started = 0
        """CPU time of the process when the call that runs began, nanoseconds; whoever calls sets it."""
        self.over = False
        """Set after an end that should not be: nobody gets this process after that."""

    def open(self) -> End:
        """Load the module."""
        prepared, _ = self._runner.prepare(self._job(Call(0, "", (), self._opened.memory_bytes, 0.0), 0.0))
        if isinstance(prepared, End):
            self.over = True
            return prepared
        return End(Outcome.OK)

    def call(self, call: Call, timeout: float) -> End:
        """Call a function of a new instance."""
        prepared, _ = self._runner.prepare(self._job(call, timeout))
        if isinstance(prepared, End):
            end = prepared
        else:
            state = self._runner.state(self._opened.output_bytes)
            end, self.memory_bytes = prepared(state, self.cpu_started)
        self.over = end.outcome not in _GOOD
        return end

    def close(self) -> None:
        """Do nothing: the module stays loaded."""

    def _job(self, call: Call, timeout: float) -> Run:
        opened = self._opened
        return Run(
            call.call,
            opened.key,
            opened.path,
            opened.size,
            call.function,
            call.arguments,
            call.memory_bytes,
            timeout,
            opened.output_bytes,
            opened.host_functions,
            opened.program,
            opened.argv,
            opened.env,
            b"",
            call.typed,
            None if opened.memories is None else component(opened.memories, call.memory_bytes),
        )
