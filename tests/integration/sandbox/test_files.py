"""The private directory of a run: what is given, what is left, what it holds, and that there is nothing around it."""

from __future__ import annotations

import io
import os

import pytest
from PIL import Image

from hibana_server.domain.executions import Outcome
from hibana_server.domain.files import Directory
from hibana_server.sandbox.frames import OUTPUT_PIECE
from tests.framework.guests import Bench
from tests.framework.wasi_script import CREATE, DIRECTORY, EXCLUSIVE, READ, TRUNCATE, WRITE, Script, Told, guest
from tests.framework.wasm import resvg
from tests.integration.sandbox.file_runs import (
    ACCES,
    BADF,
    EXIST,
    FIRST,
    INVAL,
    LOOP,
    NOENT,
    NOTDIR,
    NOTEMPTY,
    OK,
    PERM,
    ROOT,
    left,
    read_file,
    run,
    run_to_end,
    write_file,
)


async def test_what_is_given_is_read(bench: Bench) -> None:
    script = Script()
    script.open("in.txt")
    first = read_file(script, 3)
    rest = read_file(script, 10)
    told = await run(bench, script, Directory((("in.txt", b"given"),)))
    assert told.codes == [OK] * 3
    assert (told.data(first[0], 3), told.u32(first[1])) == (b"giv", 3)
    assert (told.data(rest[0], 2), told.u32(rest[1])) == (b"en", 2)


@pytest.mark.parametrize("name", ["in.txt", "./in.txt", "a/../in.txt", "a//../././in.txt"])
async def test_a_file_has_many_spellings(bench: Bench, name: str) -> None:
    script = Script()
    script.open(name)
    assert (await run(bench, script, Directory((("in.txt", b""), ("a/b", b""))))).codes == [OK]


async def test_what_is_left_comes_back_before_the_end(bench: Bench) -> None:
    script = Script()
    big = os.urandom(OUTPUT_PIECE + 1)
    write_file(script, "deep/er/out.bin", big)
    write_file(script, "empty", b"")
    write_file(script, "not asked for", b"x")
    wanted = Directory((), ("empty", "deep/er/out.bin", "missing"))
    told, end, listener = await run_to_end(bench, script, wanted)
    assert told.codes == [OK] * 9
    assert left(listener) == {"deep/er/out.bin": big}
    assert end.files == (0, len(big), -1)


async def test_files_of_a_guest_that_fails_come_too(bench: Bench) -> None:
    script = Script()
    write_file(script, "out", b"so far")
    script.trap()
    end, listener = await bench.run(guest(), stdin=script.data, directory=Directory((), ("out",)))
    assert end.outcome is Outcome.TRAP
    assert end.files == (6,)
    assert left(listener) == {"out": b"so far"}


async def test_nothing_that_was_given_can_be_changed(bench: Bench) -> None:
    script = Script()
    attempts = [
        script.open("d/in", 0, WRITE),
        script.open("d/in", TRUNCATE),
        script.open("d/in", CREATE | TRUNCATE, READ | WRITE),
    ]
    script.call("path_unlink_file", ROOT, *script.text("d/in"))
    script.call("path_remove_directory", ROOT, *script.text("d"))
    script.call("path_rename", ROOT, *script.text("d/in"), ROOT, *script.text("other"))
    script.call("path_rename", ROOT, *script.text("d"), ROOT, *script.text("other"))
    script.call("path_link", ROOT, 0, *script.text("d/in"), ROOT, *script.text("other"))
    script.call("path_filestat_set_times", ROOT, 0, *script.text("d/in"), 0, 0, 5)
    write_file(script, "own", b"mine")
    script.call("path_rename", ROOT, *script.text("own"), ROOT, *script.text("d/in"))
    script.open("d/in")
    script.call("fd_write", FIRST, *script.vectors(script.text("x")), script.room(4))
    script.call("fd_filestat_set_size", FIRST, 0)
    script.call("fd_allocate", FIRST, 0, 100)
    data, count = read_file(script, 8)
    told = await run(bench, script, Directory((("d/in", b"given"),)))
    assert len(attempts) == 3
    assert told.codes[:9] == [ACCES] * 9
    assert told.codes[9:13] == [OK, OK, OK, ACCES]
    assert told.codes[13:] == [OK, BADF, BADF, BADF, OK]
    assert told.data(data, told.u32(count)) == b"given"


async def test_a_link_is_told_and_not_followed_where_that_is_not_wanted(bench: Bench) -> None:
    script = Script()
    script.call("path_symlink", *script.text("in"), ROOT, *script.text("link"))
    script.open("link", follow=False)
    script.open("link", CREATE | EXCLUSIVE, WRITE)
    buffer, count, stat = script.room(8), script.room(4), script.room(64)
    script.call("path_readlink", ROOT, *script.text("link"), buffer, 8, count)
    script.call("path_readlink", ROOT, *script.text("in"), buffer, 8, count)
    script.call("path_filestat_get", ROOT, 0, *script.text("link"), stat)
    told = await run(bench, script, Directory((("in", b"x"),)))
    assert told.codes == [OK, LOOP, EXIST, OK, INVAL, OK]
    assert told.data(buffer, told.u32(count)) == b"in"
    assert told.data(stat + 16, 1)[0] == 7


async def test_a_link_in_the_place_of_an_output_sends_nothing(bench: Bench) -> None:
    script = Script()
    script.call("path_symlink", *script.text("in"), ROOT, *script.text("out"))
    script.call("path_create_directory", ROOT, *script.text("dir"))
    _, end, listener = await run_to_end(bench, script, Directory((("in", b"secret"),), ("out", "dir", "in2/x")))
    assert (left(listener), end.files) == ({}, (-1, -1, -1))


async def test_stdin_and_polling_work_beside_files(bench: Bench) -> None:
    script = Script()
    script.open("in")
    data, count = script.room(4), script.room(4)
    script.call("fd_read", 0, *script.vectors((data, 4)), count)
    events, told_events = script.room(64), script.room(4)
    asked = b"".join(
        fd.to_bytes(8, "little") + b"\1" + bytes(7) + fd.to_bytes(4, "little") + bytes(28) for fd in (FIRST, 9)
    )
    script.call("poll_oneoff", script.room(96, asked), events, 2, told_events)
    told = await run(bench, script, Directory((("in", b"x"),)))
    assert told.codes == [OK, OK, OK]
    assert told.u32(count) == 0  # the script was all of it
    assert told.u32(told_events) == 2
    assert (told.data(events + 8, 2), told.data(events + 32 + 8, 2)) == (b"\0\0", b"\x08\0")


async def test_a_directory_that_was_removed_takes_no_names(bench: Bench) -> None:
    script = Script()
    script.call("path_create_directory", ROOT, *script.text("d"))
    script.open("d", DIRECTORY)
    script.call("path_remove_directory", ROOT, *script.text("d"))
    script.open("x", CREATE, WRITE, base=FIRST)
    script.call("path_create_directory", FIRST, *script.text("x"))
    script.open("..", base=FIRST)
    assert (await run(bench, script)).codes == [OK, OK, OK, NOENT, NOENT, PERM]


async def test_a_directory_never_goes_into_itself(bench: Bench) -> None:
    script = Script()
    for name in ("a", "a/b", "a/b/c"):
        script.call("path_create_directory", ROOT, *script.text(name))
    script.open("a/b/c", DIRECTORY)
    script.call("path_rename", ROOT, *script.text("a"), ROOT, *script.text("a/b/c/a"))
    script.call("path_rename", ROOT, *script.text("a"), FIRST, *script.text("a"))
    script.call("path_rename", ROOT, *script.text("a/b"), ROOT, *script.text("a"))
    script.call("path_rename", ROOT, *script.text("."), ROOT, *script.text("x"))
    script.call("path_remove_directory", ROOT, *script.text("a/b"))
    told = await run(bench, script)
    assert told.codes[3:] == [OK, INVAL, INVAL, NOTEMPTY, 10, NOTEMPTY]


def directory_of(told: Told, buffer: int, size: int) -> list[tuple[bytes, int]]:
    data, found = told.data(buffer, size), []
    while len(data) >= 24:
        length, kind = int.from_bytes(data[16:20], "little"), data[20]
        found.append((data[24 : 24 + length], kind))
        data = data[24 + length :]
    return found


async def test_a_directory_is_listed_in_pieces(bench: Bench) -> None:
    script = Script()
    script.call("path_symlink", *script.text("in"), ROOT, *script.text("link"))
    whole, used = script.room(1024), script.room(4)
    script.call("fd_readdir", ROOT, whole, 1024, 0, used)
    part, part_used = script.room(64), script.room(4)
    script.call("fd_readdir", ROOT, part, 64, 2, part_used)
    script.call("fd_readdir", ROOT, part, 64, -1, part_used)
    script.open("in")
    script.call("fd_readdir", FIRST, part, 64, 0, part_used)
    told = await run(bench, script, Directory((("in", b"x"), ("d/e", b"")), ("o/out",)))
    assert told.codes == [OK, OK, OK, INVAL, OK, NOTDIR]
    listed = directory_of(told, whole, told.u32(used))
    assert listed == [(b".", 3), (b"..", 3), (b"in", 4), (b"d", 3), (b"o", 3), (b"link", 7)]
    assert told.u32(part_used) == 64  # full: there is more
    assert directory_of(told, part, 64)[:2] == listed[2:4]


INNER = b"""<svg xmlns="http://www.w3.org/2000/svg" width="20" height="15">
<rect width="20" height="15" fill="#36c"/><circle cx="10" cy="7" r="5" fill="#fc3"/></svg>"""
OUTER = b"""<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30">
<rect width="40" height="30" fill="#fff"/>%s</svg>"""
REFERRING = OUTER % b'<image href="pictures/inner.svg" x="10" y="8" width="20" height="15"/>'
HOLDING = OUTER % b'<g transform="translate(10 8)">%s</g>' % INNER


async def draw(bench: Bench, *files: tuple[str, bytes]) -> Image.Image:
    end, listener = await bench.run(
        resvg(),
        program="resvg",
        argv=("/in.svg", "/out.png"),
        result_types=(),
        directory=Directory(files, ("out.png",)),
    )
    assert end.outcome is Outcome.OK, end
    return Image.open(io.BytesIO(left(listener)["out.png"]))


async def test_resvg_draws_a_picture_that_lies_beside_its_svg(bench: Bench) -> None:
    drawn = await draw(bench, ("in.svg", REFERRING), ("pictures/inner.svg", INNER))
    expected = await draw(bench, ("in.svg", HOLDING))
    assert drawn.size == (40, 30)
    assert drawn.tobytes() == expected.tobytes()
    assert drawn.getpixel((20, 15)) == (0xFF, 0xCC, 0x33, 0xFF)


async def test_resvg_without_the_picture_draws_what_there_is(bench: Bench) -> None:
    drawn = await draw(bench, ("in.svg", REFERRING))
    assert drawn.tobytes() == (await draw(bench, ("in.svg", OUTER % b""))).tobytes()
