"""Run `hibana-server` without records of executions: `python -m tests.bench.without_records COMMAND...`.

What records cost is what a server costs more than this one. The product has no such setting, as it would lose records.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from hibana_server import app, cli
from hibana_server.domain.executions import Execution
from hibana_server.storage.sqlite.executions import SqliteExecutionStore


class Forgetful(SqliteExecutionStore):
    """A store whose records are taken and not kept: no row, no journal, no commit."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._taken.set_result(None)
        self.finish = self._forget

    def begin(self, execution: Execution) -> asyncio.Future[None]:
        """Say that the first row is stored."""
        return self._taken

    def _forget(self, execution: Execution) -> asyncio.Future[None]:
        """Say that the final row is stored."""
        return self._taken


def main() -> None:
    """Put the store where the service is built and become the server."""
    app.SqliteExecutionStore = Forgetful  # type: ignore[attr-defined]
    sys.argv = sys.argv[1:]
    cli.main()


if __name__ == "__main__":
    main()
