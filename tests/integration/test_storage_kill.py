"""What is left after `kill -9`, at every step."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hibana_server.domain.executions import State
from hibana_server.domain.ports import ExecutionFilter
from hibana_server.domain.tiers import Tier
from hibana_server.storage.blobs.local import LocalBlobStore
from hibana_server.storage.data_dir import lock_data_dir, open_data_dir
from hibana_server.storage.migrate import upgrade
from hibana_server.storage.sqlite.executions import SqliteExecutionStore
from hibana_server.storage.sqlite.modules import SqliteModuleStore

CONTENT = b"content" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()

RECORDS = """
import asyncio, sys
from pathlib import Path
from hibana_server.storage.data_dir import lock_data_dir, open_data_dir
from hibana_server.storage.sqlite.executions import SqliteExecutionStore
from hibana_server.storage.sqlite.modules import SqliteModuleStore
from tests.contract.samples import a_begun, a_module, a_version, ended

async def main():
    data_dir = open_data_dir(Path(sys.argv[1]))
    lock = lock_data_dir(data_dir)
    executions = SqliteExecutionStore(data_dir.executions_db)
    modules = SqliteModuleStore(data_dir.registry_db)
    number = 0
    while True:
        begun = a_begun()
        await executions.begin(begun)
        await asyncio.gather(*(executions.finish(ended(record)) for record in (begun, a_begun(), a_begun())))
        open_record = a_begun()
        await executions.begin(open_record)
        module = a_module(f"module-{number}")
        await modules.add_version(module, a_version(module), publish=True)
        print(begun.uid, open_record.uid, module.name, flush=True)
        number += 1

asyncio.run(main())
"""

BLOB = """
import asyncio, os, signal, sys
from pathlib import Path
from hibana_server.storage.blobs.local import LocalBlobStore

function, countdown = sys.argv[2], int(sys.argv[3])
real = getattr(os, function)

def deadly(*arguments, **options):
    global countdown
    countdown -= 1
    if countdown == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*arguments, **options)

async def main():
    store = LocalBlobStore(Path(sys.argv[1]))
    setattr(os, function, deadly)
    async with store.stage() as staged:
        await staged.write(b"content" * 500)
        await staged.write(b"content" * 500)
        await staged.finish()
        await staged.commit()
        print("committed", flush=True)
    store.close()

asyncio.run(main())
"""


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


async def test_every_acknowledged_record_and_module_survives(tmp_path: Path) -> None:
    data_dir = open_data_dir(tmp_path / "data")
    upgrade(data_dir)
    with python(RECORDS, str(data_dir.path)) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline().split() for _ in range(20)]
        process.kill()
        acknowledged += [line.split() for line in process.stdout if line.endswith("\n")]
    lock_data_dir(data_dir).release()  # died with its holder
    upgrade(data_dir)
    executions = SqliteExecutionStore(data_dir.executions_db)
    modules = SqliteModuleStore(data_dir.registry_db)
    for done_uid, open_uid, module_name in acknowledged:
        done, still_open = await executions.get(done_uid), await executions.get(open_uid)
        assert done is not None
        assert still_open is not None
        assert (done.state, still_open.state) == (State.DONE, State.RUNNING)
        assert await modules.find(Tier.USER, "alice", module_name) is not None
    assert await executions.sweep_lost(1) >= len(acknowledged)
    assert (await executions.list_executions(ExecutionFilter(state=State.RUNNING), limit=1)).total_size == 0
    await executions.close()
    await modules.close()


@pytest.mark.parametrize(
    ("function", "countdown", "complete"),
    [
        ("write", 1, False),
        ("write", 2, False),
        ("fchmod", 1, False),
        ("fsync", 1, False),  # the bytes
        ("fsync", 2, False),  # the directory of the new shard
        ("link", 1, False),
        ("fsync", 3, True),  # the name
        ("unlink", 1, True),
    ],
)
async def test_a_killed_upload_leaves_nothing_or_everything(
    tmp_path: Path, function: str, countdown: int, complete: bool
) -> None:
    with python(BLOB, str(tmp_path), function, str(countdown)) as process:
        assert process.stdout is not None
        said = process.stdout.read()
    assert process.returncode == -signal.SIGKILL
    assert bool(said) == (function == "unlink")
    store = LocalBlobStore(tmp_path)
    assert list((tmp_path / "incoming").iterdir()) == []
    assert await store.exists(DIGEST) == complete
    async with store.stage() as staged:  # the same upload, tried again
        await staged.write(CONTENT)
        await staged.finish()
        await staged.commit()
    assert b"".join([chunk async for chunk in store.read(DIGEST)]) == CONTENT
    store.close()
