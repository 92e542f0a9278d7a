"""What a private directory does not let out, and how much it holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from hibana_server.domain.executions import Outcome
from hibana_server.domain.files import Directory
from tests.framework.guests import MIB, Bench
from tests.framework.wasi_script import CREATE, READ, WRITE, Script, guest
from tests.integration.sandbox.conftest import OpenPool
from tests.integration.sandbox.file_runs import (
    BADF,
    FAULT,
    FIRST,
    ILSEQ,
    INVAL,
    LOOP,
    MFILE,
    NAMETOOLONG,
    NOENT,
    NOSPC,
    NOTDIR,
    OK,
    PERM,
    ROOT,
    left,
    run,
    run_to_end,
    write_file,
)

ESCAPES = {
    "/etc/passwd": PERM,
    "/": PERM,
    "..": PERM,
    "../etc/passwd": PERM,
    "a/../../etc/passwd": PERM,
    "a/b/../../../../etc/passwd": PERM,
    "./..": PERM,
    "//etc": PERM,
    "/proc/self/environ": PERM,
    "proc/self/environ": NOENT,
    "etc/passwd": NOENT,
    "": NOENT,
    "in/../in": NOTDIR,
    "in/": NOTDIR,
    "in/.": NOTDIR,
    "in/x": NOTDIR,
    "..\\..\\etc\\passwd": NOENT,
    "a\0../../etc/passwd": INVAL,
    "\udcff": ILSEQ,
    "x" * 256: NAMETOOLONG,
    "./" * 2049 + "in": NAMETOOLONG,
    "../" * 40 + "etc/passwd": PERM,
}


async def test_no_name_leads_out(bench: Bench) -> None:
    script = Script()
    for name in ESCAPES:
        spelled = name.encode("utf-8", "surrogateescape")
        script.open(spelled)
        script.call("path_filestat_get", ROOT, 1, *script.text(spelled), script.room(64))
    told = await run(bench, script, Directory((("in", b""), ("a/b/c", b""))))
    assert told.codes == [code for expected in ESCAPES.values() for code in (expected, expected)]


LINKS = {
    "../etc": PERM,
    "a/../..": PERM,
    "loop": LOOP,
    "missing": NOENT,
    "a/up": OK,
    "in": OK,
    ".": OK,
}


async def test_no_link_leads_out(bench: Bench) -> None:
    script = Script()
    script.call("path_symlink", *script.text("/etc/passwd"), ROOT, *script.text("absolute"))
    script.call("path_symlink", *script.text(""), ROOT, *script.text("empty"))
    script.call("path_symlink", *script.text("x" * 2000), ROOT, *script.text("long"))
    script.call("path_symlink", *script.text("loop"), ROOT, *script.text("loop"))
    script.call("path_symlink", *script.text(".."), ROOT, *script.text("a/up"))
    for number, target in enumerate(LINKS):
        script.call("path_symlink", *script.text(target), ROOT, *script.text(f"link{number}"))
        script.open(f"link{number}")
    told = await run(bench, script, Directory((("in", b""), ("a/b", b""))))
    assert told.codes[:5] == [PERM, NOENT, NAMETOOLONG, OK, OK]
    assert told.codes[5::2] == [OK] * len(LINKS)
    assert told.codes[6::2] == list(LINKS.values())


async def test_bytes_are_bounded_whatever_way_they_come(bench: Bench) -> None:
    script = Script()
    script.open("big", CREATE, WRITE)
    script.call("fd_filestat_set_size", FIRST, 4 * MIB)
    script.call("fd_filestat_set_size", FIRST, 4 * MIB + 1)
    script.call("fd_allocate", FIRST, 4 * MIB, 1)
    script.call("fd_allocate", FIRST, 2**62, 2**62)
    script.call("fd_allocate", FIRST, -1, 1)
    one = script.vectors(script.text("x"))
    script.call("fd_pwrite", FIRST, *one, 4 * MIB, script.room(4))
    script.call("fd_pwrite", FIRST, *one, 2**62, script.room(4))
    script.call("fd_pwrite", FIRST, *one, -1, script.room(4))
    script.call("fd_seek", FIRST, 2**62, 0, script.room(8))
    script.call("fd_write", FIRST, *one, script.room(4))
    script.call("path_symlink", *script.text("y"), ROOT, *script.text("link"))
    script.call("fd_filestat_set_size", FIRST, 4 * MIB - 1)
    script.call("path_symlink", *script.text("y"), ROOT, *script.text("link"))
    told = await run(bench, script)
    assert told.codes == [OK, OK, NOSPC, NOSPC, NOSPC, INVAL, NOSPC, NOSPC, INVAL, OK, NOSPC, NOSPC, OK, OK]


async def test_what_is_removed_makes_room_once_nobody_holds_it(bench: Bench) -> None:
    script = Script()
    script.open("one", CREATE, WRITE)
    script.call("fd_filestat_set_size", FIRST, 4 * MIB)
    script.call("path_link", ROOT, 0, *script.text("one"), ROOT, *script.text("again"))
    script.call("path_unlink_file", ROOT, *script.text("one"))
    script.call("path_unlink_file", ROOT, *script.text("again"))
    script.open("two", CREATE, WRITE)
    script.call("fd_filestat_set_size", FIRST + 1, 1)
    script.call("fd_close", FIRST)
    script.call("fd_filestat_set_size", FIRST + 1, 4 * MIB)
    told = await run(bench, script)
    assert told.codes == [OK, OK, OK, OK, OK, OK, NOSPC, OK, OK]


async def test_names_are_bounded(bench: Bench) -> None:
    script = Script()
    for number in range(1025):
        kind = number % 3
        if kind == 0:
            script.call("path_create_directory", ROOT, *script.text(f"d{number}"))
        elif kind == 1:
            script.call("path_symlink", *script.text("x"), ROOT, *script.text(f"l{number}"))
        else:
            script.open(f"f{number}", CREATE)
            script.call("fd_close", FIRST)
    told = await run(bench, script)
    assert told.codes[-1] == NOSPC
    assert set(told.codes[:-1]) == {OK}


async def test_descriptors_are_bounded(bench: Bench) -> None:
    script = Script()
    for _ in range(256):
        script.open("in")
    script.open("made", CREATE)
    script.open("made")
    told = await run(bench, script, Directory((("in", b""),)))
    assert told.codes == [OK] * 252 + [MFILE] * 5 + [NOENT]


async def test_output_past_its_limit_is_told(bench: Bench) -> None:
    script = Script()
    write_file(script, "small", b"s")
    script.open("big", CREATE, WRITE)
    script.call("fd_filestat_set_size", FIRST, 4 * MIB - 10)
    _, end, listener = await run_to_end(bench, script, Directory((), ("big", "small")))
    assert end.outcome is Outcome.OUTPUT_LIMIT  # stdout took some of it
    assert end.files == (-1, 1)
    assert left(listener) == {"small": b"s"}


async def test_nothing_stays_for_the_next_run(open_pool: OpenPool) -> None:
    async with open_pool(max_sandboxes=1) as bench:
        script = Script()
        write_file(script, "out", b"first")
        await run(bench, script, Directory((("in", b"x"),), ("out",)))
        pids = bench.workers()
        script = Script()
        script.open("out")
        script.open("in")
        assert (await run(bench, script)).codes == [NOENT, NOENT]
        script = Script()
        script.open("out")
        end, listener = await bench.run(guest(), stdin=script.data)
        assert script.read(listener.text()).codes == [BADF]
        assert end.outcome is Outcome.OK
        assert set(pids) & set(bench.workers())


async def test_files_need_no_right_that_the_walls_take(confined: Bench) -> None:
    script = Script()
    write_file(script, "out", b"made")
    _, end, listener = await run_to_end(confined, script, Directory((("in", b"x"),), ("out",)))
    assert end.outcome is Outcome.OK
    assert left(listener) == {"out": b"made"}


@pytest.mark.parametrize("pointer", [0xFFFF_FFFF, 2**31, 256 * 65536])
async def test_pointers_outside_the_memory_are_refused(bench: Bench, pointer: int) -> None:
    script = Script()
    script.open("in")
    calls = [
        script.call("fd_read", FIRST, pointer, 1, 0),
        script.call("fd_read", FIRST, *script.vectors((pointer, 8)), script.room(4)),
        script.call("fd_write", 2, *script.vectors((pointer, 8)), script.room(4)),
        script.call("path_open", ROOT, 0, pointer, 8, 0, READ, 0, 0, 0),
        script.call("path_open", ROOT, 0, *script.text("in"), 0, READ, 0, 0, pointer),
        script.call("fd_readdir", ROOT, pointer, 100, 0, script.room(4)),
        script.call("fd_filestat_get", FIRST, pointer),
        script.call("fd_fdstat_get", FIRST, pointer),
        script.call("fd_prestat_get", ROOT, pointer),
        script.call("fd_prestat_dir_name", ROOT, pointer, 8),
        script.call("path_readlink", ROOT, pointer, 8, 0, 0, 0),
        script.call("path_rename", ROOT, pointer, 8, ROOT, *script.text("x")),
    ]
    told = await run(bench, script, Directory((("in", b"0123456789"),)))
    assert [told.codes[call] for call in calls] == [FAULT] * len(calls)


async def test_a_path_as_long_as_the_memory_is_refused(bench: Bench) -> None:
    script = Script()
    script.call("path_open", ROOT, 0, 0, 200 * 65536, 0, READ, 0, 0, 0)
    script.call("path_symlink", 0, 200 * 65536, ROOT, *script.text("x"))
    assert (await run(bench, script)).codes == [NAMETOOLONG, NAMETOOLONG]


async def test_the_file_system_of_the_machine_is_not_even_there(bench: Bench) -> None:
    script = Script()
    names = [path.name for path in Path("/").iterdir()]
    for name in names:
        script.open(name)
        script.open("/" + name)
    told = await run(bench, script)
    assert set(told.codes) == {NOENT, PERM}
