"""The private directory against the engine's own functions on a real one: the same scripts, the same answers."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import pytest
import wasmtime

from hibana_server.domain.executions import Outcome
from hibana_server.domain.files import Directory
from tests.framework.guests import MIB, Bench
from tests.framework.wasi_script import CREATE, DIRECTORY, EXCLUSIVE, READ, TRUNCATE, WRITE, Script, Told, guest

ROOT, FIRST, LAST = 3, 4, 8
NAMES = ("a", "b", "d", "d/a", "d/e", "d/e/f", "a/x", "d/../b", "..", ".", "link", "d/link", "missing/x")
OPENED = (*NAMES, "d/", "a/", "link/", "d/link/.")
"""Names that are looked at. The engine's library does not change what is named with a slash; the kernel would."""
TARGETS = ("a", "d", "../a", "link", "missing", "..")


@dataclass
class Look:
    """Where a call tells what is compared besides its code."""

    call: int
    address: int
    size: int


def chance(seed: int) -> tuple[Script, list[Look]]:  # noqa: C901 - a case for each kind of call
    """Make a script of random calls on few names."""
    dice, script, looks = random.Random(seed), Script(), []

    def looked(name: str, address: int, size: int, *arguments: int) -> None:
        looks.append(Look(script.call(name, *arguments), address, size))

    for _ in range(120):
        fd, name = dice.randint(ROOT, LAST), script.text(dice.choice(NAMES))
        other, looked_at = script.text(dice.choice(NAMES)), script.text(dice.choice(OPENED))
        match dice.randrange(13):
            case 0 | 1 | 2:
                how = dice.choice((0, 0, CREATE, CREATE | EXCLUSIVE, CREATE | TRUNCATE, TRUNCATE, DIRECTORY))
                rights = dice.choice((READ, WRITE, READ | WRITE)) if how != DIRECTORY else READ
                rights |= WRITE if how & TRUNCATE else 0
                told = script.room(4)
                looked("path_open", told, 4, ROOT, dice.randint(0, 1), *looked_at, how, rights, 0, 0, told)
            case 3:
                script.call("path_create_directory", ROOT, *name)
            case 4:
                script.call("path_unlink_file", ROOT, *name)
            case 5:
                script.call("path_remove_directory", ROOT, *name)
            case 6:
                script.call("path_rename", ROOT, *name, ROOT, *other)
            case 7:
                script.call("path_symlink", *script.text(dice.choice(TARGETS)), ROOT, *name)
            case 8:
                told = script.room(4)
                data = script.text("x" * dice.randint(1, 9))
                looked("fd_write", told, 4, fd, *script.vectors(data), told)
            case 9:
                buffer, told = script.room(16), script.room(4)
                looked("fd_read", buffer, 16, fd, *script.vectors((buffer, 7)), told)
            case 10:
                told = script.room(8)
                looked("fd_seek", told, 8, fd, dice.randint(-5, 20), dice.randint(0, 2), told)
            case 11:
                script.call("fd_close", FIRST)  # one number is free at most: which the next one is, is open
            case 12:
                stat = script.room(64)
                looked("path_filestat_get", stat, 64, ROOT, dice.randint(0, 1), *looked_at, stat)
    return script, looks


def real(script: Script, directory: Path) -> Told:
    """Run a script with the engine's functions on a real directory."""
    engine = wasmtime.Engine()
    store, linker = wasmtime.Store(engine), wasmtime.Linker(engine)
    linker.define_wasi()
    config = wasmtime.WasiConfig()
    config.preopen_dir(str(directory), "/")
    stdin, stdout = directory.with_suffix(".in"), directory.with_suffix(".out")
    stdin.write_bytes(script.data)
    config.stdin_file, config.stdout_file = str(stdin), str(stdout)
    store.set_wasi(config)
    instance = linker.instantiate(store, wasmtime.Module(engine, guest()))
    start = instance.exports(store)["_start"]
    assert isinstance(start, wasmtime.Func)
    start(store)
    return script.read(stdout.read_bytes())


def alike(ours: int, theirs: int) -> bool:
    """Tell whether two codes say the same: that it was done, or that it was not. Why not, the kernel tells its way."""
    return (ours == 0) == (theirs == 0)


@pytest.mark.parametrize("seed", range(60))
async def test_calls_have_the_effect_they_have_on_a_real_directory(bench: Bench, tmp_path: Path, seed: int) -> None:
    script, looks = chance(seed)
    directory = tmp_path / "real"
    directory.mkdir()
    end, listener = await bench.run(guest(), stdin=script.data, directory=Directory(), output_bytes=4 * MIB)
    assert end.outcome is Outcome.OK
    ours, theirs = script.read(listener.text()), real(script, directory)
    for place, (one, other) in enumerate(zip(ours.codes, theirs.codes, strict=True)):
        assert alike(one, other), (place, script.spell(place), one, other)
    for look in looks:
        if ours.codes[look.call]:
            continue
        one, other = (told.data(look.address, look.size) for told in (ours, theirs))
        if look.size == 64:
            # Device, number and times are one's own; a directory's size is the file system's.
            kind, size = one[16], one[32:40]
            assert kind == other[16]
            assert kind == 3 or size == other[32:40]
        else:
            assert one == other, script.spell(look.call)
