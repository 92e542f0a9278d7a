"""The CPU time of a process as it is seen from outside, up to its end and behind it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from hibana_server.sandbox.process_time import cpu_ns

BURN = "import sys, time\nwhile time.process_time() < 0.05: pass\nprint('burnt', flush=True)\nsys.stdin.read()"


def test_a_process_is_read_until_it_is_reaped() -> None:
    with subprocess.Popen([sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"burnt\n"
        living = cpu_ns(process.pid)
        assert living is not None
        assert living >= 50_000_000
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        dead = cpu_ns(process.pid)
        assert dead is not None
        assert dead >= living
        assert process.wait() == -signal.SIGKILL
        assert cpu_ns(process.pid) is None


def test_a_process_that_waits_takes_nothing() -> None:
    mine = cpu_ns(os.getpid())
    assert mine is not None
    assert abs(time.process_time_ns() - mine) < 10**9
