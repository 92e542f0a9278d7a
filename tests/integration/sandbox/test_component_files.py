"""The private directory of a run of a component: what is given, what is left, what it holds."""

from __future__ import annotations

from typing import Any

import pytest

from hibana_server.domain.executions import Outcome, RunEnd
from hibana_server.domain.files import Directory
from hibana_server.sandbox.worker.components.wasi.held import MAX_HELD, PIECE
from tests.framework.component_script import CREATE, EXCLUSIVE, READ, TRUNCATE, WRITE, At, Script, Told, guest
from tests.framework.filesystem_words import KINDS
from tests.framework.guests import MIB, Bench, Listener
from tests.integration.sandbox.file_runs import left

ESCAPES = {
    "/etc/passwd": "not-permitted",
    "..": "not-permitted",
    "../etc/passwd": "not-permitted",
    "a/../../etc/passwd": "not-permitted",
    "/proc/self/environ": "not-permitted",
    "proc/self/environ": "no-entry",
    "": "no-entry",
    "in/": "not-directory",
    "in/x": "not-directory",
    "a\0b": "invalid",
    "x" * 256: "name-too-long",
}


async def run_to_end(
    bench: Bench, script: Script, directory: Directory | None = None, **rest: Any
) -> tuple[Told, RunEnd, Listener]:
    rest.setdefault("output_bytes", 4 * MIB)
    given = {"directory": directory or Directory(), **rest}
    end, heard = await bench.call(guest(), "", "run", script.data, **given)
    return Told(end.results[0] if end.outcome is Outcome.OK else b""), end, heard


async def run(bench: Bench, script: Script, directory: Directory | None = None, **rest: Any) -> Told:
    """Run a script that must end well."""
    told, end, _ = await run_to_end(bench, script, directory, **rest)
    assert end.outcome is Outcome.OK, end
    return told


def opened(script: Script, root: At, name: str, how: int = 0, flags: int = READ) -> At:
    """Open a file; the handle is good where that succeeds."""
    return At(script.call("open-at", root, 0, *script.text(name), how, flags) + 4)


def write_file(script: Script, root: At, name: str, data: bytes) -> int:
    """Make a file with these bytes; returns the result of writing."""
    file = opened(script, root, name, CREATE | TRUNCATE, WRITE)
    written = script.call("write", file, *script.text(data), 0)
    script.call("drop-descriptor", file)
    return written


async def test_what_is_given_is_read(bench: Bench) -> None:
    script = Script()
    file = opened(script, script.root(), "d/in.txt")
    first, rest = script.call("read", file, 3, 0), script.call("read", file, 100, 3)
    end = script.call("read", file, 100, 5)
    stream = At(script.call("read-via-stream", file, 2) + 4)
    streamed, closed = (script.call("input-stream.blocking-read", stream, 100) for _ in range(2))
    told = await run(bench, script, Directory((("d/in.txt", b"given"),)))
    assert [told.text(each) for each in (first, rest, end, streamed)] == [b"giv", b"en", b"", b"ven"]
    assert [told.data(each + 12, 1) for each in (first, rest, end)] == [b"\0", b"\0", b"\1"]
    assert (told.tag(closed), told.data(closed + 4, 1)) == (1, b"\1")


async def test_what_is_left_comes_back_before_the_end(bench: Bench) -> None:
    script = Script()
    root = script.root()
    write_file(script, root, "deep/er/out.bin", b"out" * 1000)
    write_file(script, root, "empty", b"")
    write_file(script, root, "not asked for", b"x")
    _, end, heard = await run_to_end(bench, script, Directory((), ("empty", "deep/er/out.bin", "missing")))
    assert end.outcome is Outcome.OK
    assert left(heard) == {"deep/er/out.bin": b"out" * 1000}
    assert end.files == (0, 3000, -1)


async def test_files_of_a_component_that_fails_come_too(bench: Bench) -> None:
    script = Script()
    root = script.root()
    write_file(script, root, "out", b"so far")
    script.call("stat", At(script.room(4)))  # 0 is no handle
    _, end, heard = await run_to_end(bench, script, Directory((), ("out",)))
    assert end.outcome is Outcome.TRAP
    assert left(heard) == {"out": b"so far"}


async def test_nothing_that_was_given_can_be_changed(bench: Bench) -> None:
    script = Script()
    root, name = script.root(), script.text("in")
    asked = [
        script.call("open-at", root, 0, *name, how, flags)
        for how, flags in ((0, WRITE), (0, READ | WRITE), (TRUNCATE, WRITE), (CREATE | EXCLUSIVE, WRITE))
    ]
    asked += [
        script.call("unlink-file-at", root, *name),
        script.call("rename-at", root, *name, root, *script.text("x")),
        script.call("link-at", root, 0, *name, root, *script.text("x")),
        script.call("set-times-at", root, 0, *name, 1, 0, 0, 0, 0, 0),
    ]
    file = opened(script, root, "in")
    written = [
        script.call("write", file, *script.text("x"), 0),
        script.call("set-size", file, 0),
        script.call("write-via-stream", file, 0),
        script.call("append-via-stream", file),
    ]
    read = script.call("read", file, 10, 0)
    told = await run(bench, script, Directory((("in", b"given"),)))
    assert all(told.tag(each) for each in (*asked, *written))
    # The code stands where the handle would, or the flags.
    assert [told.code(each, 4) for each in asked[:4]] == ["access", "access", "access", "exist"]
    assert {told.code(each) for each in asked[4:]} == {"access"}
    assert told.text(read) == b"given"


@pytest.mark.parametrize(("name", "code"), ESCAPES.items())
async def test_no_name_leads_out(bench: Bench, name: str, code: str) -> None:
    script = Script()
    root = script.root()
    result = script.call("open-at", root, 1, *script.text(name), 0, READ)
    told = await run(bench, script, Directory((("in", b""), ("a/in", b""))))
    assert (told.tag(result), told.code(result, 4)) == (1, code)


async def test_a_directory_tells_its_names(bench: Bench) -> None:
    script = Script()
    root = script.root()
    write_file(script, root, "b", b"")
    script.call("symlink-at", root, *script.text("b"), *script.text("c"))
    listing = At(script.call("read-directory", root) + 4)
    entries = [script.call("read-directory-entry", listing) for _ in range(4)]
    told = await run(bench, script, Directory((("a/in", b""),)))
    found = {told.text(each, 12).decode(): KINDS[told.data(each + 8, 1)[0]] for each in entries[:3]}
    assert found == {"a": "directory", "b": "regular-file", "c": "symbolic-link"}
    assert (told.tag(entries[3]), told.data(entries[3] + 4, 1)) == (0, b"\0")


async def test_a_directory_holds_as_much_as_a_run_may_put_out(bench: Bench) -> None:
    script = Script()
    root = script.root()
    piece = script.text(b"x" * 60_000)
    file = opened(script, root, "out", CREATE, WRITE)
    fits, too_much = script.call("write", file, *piece, 0), script.call("write", file, *piece, 60_000)
    stream = At(script.call("append-via-stream", file) + 4)
    streamed = script.call("output-stream.blocking-write-and-flush", stream, *piece)
    reason = script.call("filesystem-error-code", At(streamed + 8))
    room = script.call("output-stream.check-write", stream)
    grown = script.call("set-size", file, 1 << 40)
    told, end, heard = await run_to_end(bench, script, Directory((), ("out",)), output_bytes=100_000)
    assert end.outcome is Outcome.OK, end
    assert [told.tag(each) for each in (fits, too_much, streamed, room, grown)] == [0, 1, 1, 1, 1]
    assert told.code(too_much, 8) == told.code(reason) == told.code(grown) == "insufficient-space"
    assert end.files == (60_000,)
    assert left(heard) == {"out": b"x" * 60_000}


async def test_open_files_are_bounded(bench: Bench) -> None:
    script = Script()
    root = script.root()
    results = [script.call("open-at", root, 0, *script.text("in"), 0, READ) for _ in range(300)]
    told = await run(bench, script, Directory((("in", b""),)))
    assert [told.tag(each) for each in results] == [0] * 255 + [1] * 45
    assert told.code(results[-1], 4) == "insufficient-memory"


async def test_streams_are_bounded(bench: Bench) -> None:
    # `leak` asks for stderr again and again, and drops nothing.
    assert await bench.result("component_wasi", "", "leak", MAX_HELD, directory=Directory()) == MAX_HELD
    end, _ = await bench.call("component_wasi", "", "leak", MAX_HELD + 1, directory=Directory())
    assert end.failure
    assert (end.outcome, end.failure.code) == (Outcome.TRAP, "HOST_ABORT")
    assert str(MAX_HELD) in end.failure.message


async def test_a_piece_is_read_at_once(bench: Bench) -> None:
    script = Script()
    file = opened(script, script.root(), "in")
    data = bytes(range(256)) * 1024
    first, rest = script.call("read", file, 1 << 40, 0), script.call("read", file, PIECE, PIECE)
    told = await run(bench, script, Directory((("in", data),)))
    assert (told.text(first), told.text(rest)) == (data[:PIECE], data[PIECE : 2 * PIECE])


async def test_a_file_without_a_name_lives_as_long_as_it_is_open(bench: Bench) -> None:
    script = Script()
    root = script.root()
    file = opened(script, root, "x", CREATE, READ | WRITE)
    script.call("write", file, *script.text(b"x" * 60_000), 0)
    stream = At(script.call("read-via-stream", file, 59_997) + 4)
    script.call("unlink-file-at", root, *script.text("x"))
    script.call("drop-descriptor", file)
    read = script.call("input-stream.blocking-read", stream, 10)
    full = write_file(script, root, "y", b"y" * 60_000)
    script.call("drop-input", stream)
    fits = write_file(script, root, "z", b"z" * 60_000)
    told = await run(bench, script, output_bytes=100_000)
    assert told.text(read) == b"xxx"
    assert (told.tag(full), told.tag(fits)) == (1, 0)


async def test_runs_know_nothing_of_each_other(bench: Bench) -> None:
    script = Script()
    root = script.root()
    found = script.call("open-at", root, 0, *script.text("out"), CREATE | EXCLUSIVE, WRITE)
    for _ in range(3):
        assert (await run(bench, script)).tag(found) == 0


async def test_two_descriptors_of_one_file_are_one_object(bench: Bench) -> None:
    script = Script()
    root = script.root()
    one, other = opened(script, root, "in"), opened(script, root, "./in")
    hashes = [script.call("metadata-hash", file) for file in (one, other)]
    more = script.call("metadata-hash-at", root, 0, *script.text("in2"))
    told = await run(bench, script, Directory((("in", b""), ("in2", b""))))
    first, second, third = (told.data(each + 8, 16) for each in (*hashes, more))
    assert first == second != third


async def test_times_are_set_and_told(bench: Bench) -> None:
    script = Script()
    root = script.root()
    file = opened(script, root, "x", CREATE, WRITE)
    script.call("set-times", file, 2, 1_000_000_000, 5, 0, 0, 0)
    stat = script.call("stat", file)
    absurd = script.call("set-times", file, 2, (1 << 64) - 1, 0, 0, 0, 0)
    told = await run(bench, script)
    # type @8, link-count @16, size @24, and the first time: whether there is one @32, seconds @40, nanoseconds @48.
    assert told.data(stat + 32, 1) == b"\1"
    assert int.from_bytes(told.data(stat + 40, 8), "little") == 1_000_000_000
    assert told.u32(stat + 48) == 5
    assert told.code(absurd) == "invalid"
