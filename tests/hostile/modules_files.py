"""Guests and callers who make the most of a private directory: leave it, fill it, outlive it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from hibana.v1 import executor_pb2, module_pb2, value_pb2
from hibana_server.sandbox.imports import WASI_FUNCTIONS
from tests.framework import component_script
from tests.framework.processes import kill
from tests.framework.wasi_script import CALLED, CREATE, READ, TRUNCATE, WRITE, Script, guest
from tests.hostile.cases import LOST, MIB, OK, OUTPUT_LIMIT, TRAP, Answer, Case, theme
from tests.hostile.house import House
from tests.hostile.invariants import census

pb = executor_pb2
PUBLIC = module_pb2.ModuleSpec(is_public=True)
NAMES = (b"x", b"d", b"d/x", b"d/d/x", b"..", b"/", b".", b"", b"in", b"d/../in", b"\xff", b"\0", b"x" * 300, b"in/x")


async def run(house: House, reference: str, script: Script, **fields: object) -> Answer:
    request = pb.InvokeRequest(module=reference, stdin=script.data, **fields)  # type: ignore[arg-type]
    return await house.mallory.executor.Invoke(request)


async def uploaded(house: House) -> str:
    return (await house.upload(guest(), module=PUBLIC)).module.reference


async def any_call_with_anything(house: House) -> None:
    """Make calls at random, with descriptors, pointers, names and flags that mostly make no sense."""
    reference, dice = await uploaded(house), house.chance
    scripted = [name for name in CALLED if name not in ("poll_oneoff", "proc_raise", "sched_yield")]

    def value(script: Script, kind: str) -> int:
        if kind == "i64":
            return dice.choice((0, 1, 2, 2**31, 2**32, 2**62, 2**63 - 1, -1))
        places = (0, 1, 3, 4, 5, 8, 255, 65536, 2**31, 2**32 - 1)
        return dice.choice((*places, script.room(64), script.text(dice.choice(NAMES))[0]))

    async def once(_number: int) -> None:
        script = Script()
        for _ in range(200):
            name = dice.choice(scripted)
            script.call(name, *(value(script, kind) for kind in WASI_FUNCTIONS[name].parameters))
        answer = await run(house, reference, script, files=[pb.InputFile(name="in", data=b"x")], outputs=["x", "d/x"])
        assert answer.outcome in {OK, TRAP, OUTPUT_LIMIT}, answer

    await house.repeat(house.times(10, 3000), once)


async def any_call_of_a_component_with_anything(house: House) -> None:
    """Make calls of WASI 0.2 at random. A handle or string that cannot be is a trap, and ends the script."""
    reference = (await house.upload(component_script.guest(), module=PUBLIC)).module.reference
    dice = house.chance
    numbers = (0, 1, 2, 3, 8, 2**16, 2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1)

    async def once(_number: int) -> None:
        script = component_script.Script()
        handles = [script.root()]
        for _ in range(100):
            name = dice.choice(component_script.CALLED)
            parameters = component_script.PARAMETERS[name]
            count = len(parameters) - (name not in component_script.PLAIN)
            given: list[int | component_script.At] = [dice.choice(handles)]
            while len(given) < count:
                if parameters[len(given) : len(given) + 2] == ("i32", "i32") and len(given) + 2 <= count:
                    given += script.text(
                        dice.choice(NAMES) if dice.random() < 0.1 else dice.choice((b"x", b"d/x", b"in"))
                    )
                else:
                    given.append(dice.choice(numbers if dice.random() < 0.1 else (0, 1, 2, 3)))
            told = script.call(name, *given[:count])
            if name in {"open-at", "read-via-stream", "write-via-stream", "append-via-stream", "read-directory"}:
                handles.append(component_script.At(told + 4))
        values = value_pb2.ListOfValues(values=[value_pb2.Value(bytes_value=script.data)])
        files, outputs = [pb.InputFile(name="in", data=b"x")], ["x", "d/x"]
        request = pb.InvokeRequest(
            module=reference, function="run", typed_arguments=values, files=files, outputs=outputs
        )
        answer = await house.mallory.executor.Invoke(request)
        assert answer.outcome in {OK, TRAP, OUTPUT_LIMIT}, answer

    await house.repeat(house.times(20, 3000), once)


async def everything_outside(house: House) -> None:
    """Ask for what surely exists around the worker, by every way of writing it."""
    reference = await uploaded(house)
    server = Path(f"/proc/{house.front}")
    wanted = ["/etc/passwd", "/proc/self/environ", "/proc/1/root", str(server), str(house.server.data_dir), os.sep]
    script = Script()
    for depth in range(8):
        script.call("path_create_directory", 3, *script.text("/".join("d" * (depth + 1))))
    for place in wanted:
        for before in ("", "/", "..", "../" * 20, "d/d/" + "../" * 30, "./" * 100 + "..", "d/d/d/../../../../"):
            script.open(before + place)
            script.call("path_symlink", *script.text(before + place), 3, *script.text("link"))
            script.open("link", how=CREATE | TRUNCATE, rights=READ | WRITE)
            script.open("link/etc/passwd")
            script.call("path_unlink_file", 3, *script.text("link"))
    answer = await run(house, reference, script)
    assert answer.outcome == OK, answer
    codes = script.read(answer.stdout).codes
    opened = [code for number, code in enumerate(codes[8:]) if number % 5 in (0, 3)]
    assert all(code != 0 for code in opened), codes


async def floods(house: House) -> None:
    """Fill the directory in each way there is: bytes, holes, names, links, depth, descriptors, vectors."""
    reference = await uploaded(house)
    for _ in range(house.times(1, 30)):
        holes, names, deep, open_ = Script(), Script(), Script(), Script()
        holes.open("x", CREATE, WRITE)
        one = holes.vectors(holes.text("x"))
        for bits in range(64):
            holes.call("fd_pwrite", 4, *one, (1 << bits) - 1, holes.room(4))
            holes.call("fd_allocate", 4, (1 << bits) - 1, (1 << bits) - 1)
            holes.call("fd_filestat_set_size", 4, (1 << bits) - 1)
        for number in range(2500):
            names.call("path_create_directory", 3, *names.text(f"{number:0255}"))
        for number in range(1500):
            deep.call("path_create_directory", 3, *deep.text("/".join(["d"] * (number % 1100 + 1))))
        deep.call("path_rename", 3, *deep.text("d/d"), 3, *deep.text("e"))
        for _ in range(2000):
            open_.open("in")
        wide = Script()
        many = wide.vectors(*[(0, 2**24)] * 1024)
        wide.open("in", CREATE, READ | WRITE)
        for _ in range(20):
            wide.call("fd_write", 4, *many, wide.room(4))
            wide.call("fd_pread", 4, *many, 0, wide.room(4))
        for script in (holes, names, deep, open_):
            answer = await run(house, reference, script, files=[pb.InputFile(name="in")], outputs=["x", "d/x"])
            assert answer.outcome in {OK, OUTPUT_LIMIT}, answer
        assert (await run(house, reference, wide, outputs=["in"])).outcome in {OK, TRAP}


async def killed_while_it_has_files(house: House) -> None:
    """Kill a worker that holds files: its run is LOST, and nothing of it lies anywhere."""
    reference = await uploaded(house)
    before = set(house.server.data_dir.rglob("*"))
    for _ in range(house.times(2, 5)):
        script = Script()
        script.open("big", CREATE, WRITE)
        script.call("fd_filestat_set_size", 4, 7 * MIB)
        clock = script.room(48, bytes(16) + b"\1" + bytes(7) + (10**10).to_bytes(8, "little"))
        script.call("poll_oneoff", clock, script.room(32), 1, script.room(4))
        answers = house.mallory.executor.Execute(
            pb.ExecuteRequest(
                module=reference, stdin=script.data, files=[pb.InputFile(name="in", data=bytes(MIB))], outputs=["big"]
            )
        )
        told = []
        async for answer in answers:
            told.append(answer.event)
            if answer.event.HasField("started"):
                kill(census(house.front).workers, signal.SIGKILL)
        assert told[-1].result.outcome == LOST, told[-1]
        assert not told[-1].result.files
        # All workers at once, again and again with nothing between, would make the service pause before new ones.
        assert (await house.add(timeout=10)).outcome
    made = set(house.server.data_dir.rglob("*")) - before
    made = {path for path in made if not any(part.startswith("executions.") for part in path.parts)}
    assert not made, made


async def requests_with_wrong_names(house: House) -> None:
    """Name files as no directory can have them: each is refused for its field, and nothing runs."""
    reference = await uploaded(house)
    names = [
        "/",
        "..",
        "a/..",
        "a//b",
        "\x1b[2J",
        "a\u200bb",
        "e\u0301",
        "a" * 256,
        "b/" * 17,
        "a\\b",
        " \u2028",
        "\ufeff",
    ]
    names += ["a" * 10_000, "a/" * 5_000, "."]
    count = await house.count()
    for name in names:
        for fields in ({"files": [pb.InputFile(name=name)]}, {"outputs": [name]}):
            request = pb.InvokeRequest(module=reference, **fields)
            refusal = await house.refusal(house.mallory.executor.Invoke(request))
            assert refusal.code.name == "INVALID_ARGUMENT", (name, refusal)
            assert refusal.message.isprintable()
    assert await house.count() == count


CASES = theme(
    "files",
    Case("any call with anything", any_call_with_anything, 20),
    Case("any call of a component with anything", any_call_of_a_component_with_anything, 20),
    Case("everything outside", everything_outside),
    Case("floods", floods, 30),
    Case("a worker killed while it has files", killed_while_it_has_files, 10),
    Case("wrong names in requests", requests_with_wrong_names),
)
