"""What holds between whole processes: the front knows no engine, and takes its workers along when it dies."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

from tests.framework.wasm import slow_to_compile

FRONT = """
import asyncio, hashlib, pathlib, sys
from hibana_server.domain.tiers import DEFAULT_POLICIES, Tier
from hibana_server.sandbox.artifacts import ArtifactStore

async def main(root, wasm):
    store = ArtifactStore(root / "artifacts", bytes(32))
    await store.start()
    digest = hashlib.sha256(wasm.read_bytes()).hexdigest()
    task = asyncio.create_task(store.compile(wasm, digest, DEFAULT_POLICIES[Tier.ADMIN], Tier.ADMIN, "alice"))
    while not store._runner.running:
        await asyncio.sleep(0)
    print(store._runner.running[0], flush=True)
    await task

asyncio.run(main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])))
"""


def test_front_never_imports_the_engine() -> None:
    code = (
        "import sys; import hibana_server.sandbox.artifacts, hibana_server.sandbox.engine_settings as e;"
        "e.engine_fingerprint(); from hibana_server.sandbox.artifact_keys import *; artifact_key('a');"
        "print([m for m in sys.modules if m.split('.')[0] == 'wasmtime' or 'sandbox.gate' in m])"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout == "[]\n"


def test_worker_dies_with_the_front_and_leaves_nothing(tmp_path: Path) -> None:
    wasm = tmp_path / "slow.wasm"
    wasm.write_bytes(slow_to_compile())
    command = [sys.executable, "-c", FRONT, str(tmp_path), str(wasm)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as front:
        assert front.stdout is not None
        worker = os.pidfd_open(int(front.stdout.readline()))
        front.kill()
    ended, _, _ = select.select([worker], [], [], 10)
    os.close(worker)
    assert ended
    # What it left behind goes when the next server starts.
    artifacts = tmp_path / "artifacts"
    assert [path for path in artifacts.rglob("*") if path.is_file()]
    script = (
        "import asyncio, pathlib, sys; from hibana_server.sandbox.artifacts import ArtifactStore;"
        "asyncio.run(ArtifactStore(pathlib.Path(sys.argv[1]), bytes(32)).start())"
    )
    subprocess.run([sys.executable, "-c", script, str(artifacts)], check=True)
    assert [path for path in artifacts.rglob("*") if path.is_file()] == []
