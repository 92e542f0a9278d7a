"""The private directory of components against the engine's WASI 0.2 on a real one: one script, one answer."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from wasmtime import component

from hibana_server.domain.files import Directory
from tests.framework.component_script import (
    CREATE,
    DIRECTORY,
    EXCLUSIVE,
    READ,
    TRUNCATE,
    WRITE,
    At,
    Script,
    Told,
    guest,
)
from tests.framework.guests import MIB, Bench

NAMES = ("a", "b", "d", "d/a", "d/e", "d/e/f", "a/x", "d/../b", "..", ".", "link", "d/link", "missing/x")
OPENED = (*NAMES, "d/", "a/", "link/", "d/link/.")
"""Names that are looked at. The engine's library does not change what is named with a slash; the kernel would."""
TARGETS = ("a", "d", "../a", "link", "missing", "..")
SCRIPTS = 8


@dataclass
class Look:
    """What is compared of a call that succeeded."""

    result: int
    kind: str


def chance(seed: int) -> tuple[Script, list[Look]]:
    """Make a script of random calls on few names. Every handle is used where it was opened, if it was."""
    dice, script, looks = random.Random(seed), Script(), []
    root = script.root()

    def looked(kind: str, name: str, *arguments: int | At) -> int:
        looks.append(Look(script.call(name, *arguments), kind))
        return looks[-1].result

    script.call("create-directory-at", root, *script.text("d"))
    script.call("open-at", root, 0, *script.text("a"), CREATE, WRITE)
    script.call("open-at", root, 0, *script.text("d/a"), CREATE, WRITE)
    script.call("symlink-at", root, *script.text("a"), *script.text("link"))
    for _ in range(40):
        name, other = script.text(dice.choice(NAMES)), script.text(dice.choice(NAMES))
        looked_at = script.text(dice.choice(OPENED))
        match dice.randrange(11):
            case 0 | 1 | 2 | 3:
                how = dice.choice((0, 0, CREATE, CREATE | EXCLUSIVE, CREATE | TRUNCATE, TRUNCATE, DIRECTORY))
                flags = dice.choice((READ, WRITE, READ | WRITE)) if how != DIRECTORY else READ
                flags |= WRITE if how & (TRUNCATE | CREATE) else 0
                looked("", "open-at", root, dice.randint(0, 1), *looked_at, how, flags)
            case 4:
                looked("", "create-directory-at", root, *name)
            case 5:
                looked("", "unlink-file-at", root, *name)
            case 6:
                looked("", "remove-directory-at", root, *name)
            case 7:
                looked("", "rename-at", root, *name, root, *other)
            case 8:
                looked("", "symlink-at", root, *script.text(dice.choice(TARGETS)), *name)
            case 9:
                looked("text", "readlink-at", root, *name)
            case 10:
                looked("stat", "stat-at", root, dice.randint(0, 1), *looked_at)
    for place in range(3):
        _file(script, dice, looked, root, f"file{place}")
    return script, looks


def _file(script: Script, dice: random.Random, looked: Callable[..., int], root: At, name: str) -> None:
    """Read and write a file that is there for sure."""
    written = script.text("x" * dice.randint(1, 9))
    file = At(script.call("open-at", root, 0, *script.text(name), CREATE, READ | WRITE) + 4)
    for _ in range(8):
        match dice.randrange(6):
            case 0 | 1:
                looked("number", "write", file, *written, dice.randint(0, 20))
            case 2:
                looked("piece", "read", file, dice.randint(0, 9), dice.randint(0, 30))
            case 3:
                looked("", "set-size", file, dice.randint(0, 30))
            case 4:
                looked("stat", "stat", file)
            case 5:
                stream = At(script.call("write-via-stream", file, dice.randint(0, 20)) + 4)
                looked("", "output-stream.blocking-write-and-flush", stream, *written)
                looked("", "output-stream.blocking-flush", stream)
                script.call("drop-output", stream)
    reading = At(script.call("read-via-stream", file, dice.randint(0, 9)) + 4)
    for _ in range(3):
        looked("text", "input-stream.blocking-read", reading, dice.randint(1, 9))


@cache
def loaded() -> tuple[wasmtime.Engine, component.Linker, component.Component]:
    """Compile the component for the engine's own files, once."""
    engine = wasmtime.Engine()
    linker = component.Linker(engine)
    linker.add_wasip2()
    return engine, linker, component.Component(engine, guest())


def real(script: Script, directory: Path) -> Told:
    """Run a script with the engine's functions on a real directory."""
    engine, linker, made = loaded()
    store, config = wasmtime.Store(engine), wasmtime.WasiConfig()
    config.preopen_dir(str(directory), "/")
    store.set_wasi(config)
    instance = linker.instantiate(store, made)
    run: Any = instance.get_func(store, "run")
    return Told(bytes(run(store, script.data)))


def seen(told: Told, look: Look) -> object:
    """Return what a call told that is the same everywhere: no numbers and times of files."""
    match look.kind:
        case "number":
            return told.data(look.result + 8, 8)
        case "text":
            return told.text(look.result)
        case "piece":
            return told.text(look.result), told.data(look.result + 12, 1)
        case "stat":
            kind = told.data(look.result + 8, 1)
            return kind, told.data(look.result + 24, 8) if kind != b"\3" else b""
        case _:
            return None


@pytest.mark.parametrize("first", range(0, 160, SCRIPTS))
async def test_calls_have_the_effect_they_have_on_a_real_directory(bench: Bench, tmp_path: Path, first: int) -> None:
    job = bench.typed_job(guest(), "", "run", b"", directory=Directory(), output_bytes=4 * MIB)
    assert job.typed
    for seed in range(first, first + SCRIPTS):
        script, looks = chance(seed)
        directory = tmp_path / str(seed)
        directory.mkdir()
        _, heard = await bench.start(replace(job, typed=replace(job.typed, arguments=(script.data,))))
        (answer,) = (await heard.end()).results
        ours, theirs = Told(answer), real(script, directory)
        for look in looks:
            spelled = (seed, script.spelled[look.result])
            assert ours.tag(look.result) == theirs.tag(look.result), spelled
            if ours.tag(look.result) == 0:
                assert seen(ours, look) == seen(theirs, look), spelled
