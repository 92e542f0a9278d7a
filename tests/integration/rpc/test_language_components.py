"""CPython and QuickJS as components: an administrator uploads them whole, and callers pass values of every kind."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format, struct_pb2

from hibana.v1 import execution_pb2, executor_pb2, module_pb2, value_pb2
from tests.framework.refusals import refused
from tests.framework.sessions import OpenSession, json_call
from tests.framework.stubs import Stubs
from tests.integration.rpc.conftest import header, invoke, messages, sha256
from tests.integration.rpc.test_records import record
from tools.modules import JAVASCRIPT, PYTHON

pytestmark = [pytest.mark.needs_modules, pytest.mark.timeout(600)]
OK = execution_pb2.OUTCOME_OK
TEXT, DISK = "hibana:guest/text@1.0.0", "hibana:guest/disk@1.0.0"
CHUNK = 1024 * 1024
UPLOAD_SECONDS = 300.0
MADE = {"python": PYTHON, "javascript": JAVASCRIPT}


def chunks(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    for start in range(0, len(data), CHUNK):
        yield data[start : start + CHUNK]


async def uploaded(admin: Stubs, name: str, language: str) -> module_pb2.ModuleVersion:
    """Upload a component. The same bytes are compiled once, which takes a minute where the machine is busy."""
    path = MADE[language]
    first = header(name, tier=module_pb2.TIER_ADMIN, sha256=sha256(path.read_bytes()))
    sent = admin.registry.UploadModule(messages(first, *chunks(path)), timeout=UPLOAD_SECONDS)
    return (await sent).version


def plain(values: struct_pb2.ListValue) -> list[Any]:
    """Return JSON values as Python has them."""
    found: Any = json_format.MessageToDict(values)
    return list(found)


async def value(admin: Stubs, name: str, function: str, *values: Any) -> Any:
    answer = await invoke(admin, f"admin/{name}", f"{TEXT}#{function}", *values)
    assert answer.outcome == OK, answer
    (returned,) = plain(answer.result.json)
    return returned


@pytest.mark.parametrize("language", MADE)
async def test_a_language_is_uploaded_and_called(admin: Stubs, caller: Stubs, language: str) -> None:
    name = f"called-{language}"
    version = await uploaded(admin, name, language)
    assert version.runnable, version.findings
    assert version.convention == module_pb2.CONVENTION_COMPONENT
    assert version.wasm_size_bytes == MADE[language].stat().st_size
    types = {export.name: ([p.type for p in export.parameters], list(export.results)) for export in version.exports}
    assert types[f"{TEXT}#count"] == (["list<string>"], ["list<record { word: string, count: u32 }>"])
    assert await value(admin, name, "greet", "火花") == "Hello, 火花!"
    counted = await value(admin, name, "count", ["a", "b", "a"])
    assert counted == [{"word": "a", "count": 2}, {"word": "b", "count": 1}]
    data = random.Random(language).randbytes(100_000)
    turned = await value(admin, name, "turn", base64.b64encode(data).decode())
    assert base64.b64decode(turned) == data[::-1]
    assert await value(admin, name, "parse", "-12") == {"ok": "-12"}
    assert await value(admin, name, "parse", "x1") == {"err": "no number: x1"}
    # Modules of administrators are theirs alone.
    assert (await refused(invoke(caller, f"admin/{name}", f"{TEXT}#greet", "me"))).code.name == "NOT_FOUND"


@pytest.mark.parametrize("language", MADE)
async def test_the_record_of_a_call_tells_its_values(admin: Stubs, language: str) -> None:
    name = f"recorded-{language}"
    version = await uploaded(admin, name, language)
    words = value_pb2.Value()
    for word in ("x", "y", "x"):
        words.list_value.values.add(string_value=word)
    arguments = value_pb2.ListOfValues(values=[words])
    answer = await invoke(admin, f"admin/{name}", f"{TEXT}#count", typed_arguments=arguments)
    assert answer.outcome == OK, answer
    (found,) = answer.result.typed.values
    told = [{field.name: field.value for field in each.record_value.fields} for each in found.list_value.values]
    assert [(each["word"].string_value, each["count"].u32_value) for each in told] == [("x", 2), ("y", 1)]
    kept = await record(admin, answer.execution)
    assert (kept.module_reference, kept.function, kept.version) == (f"admin/{name}", f"{TEXT}#count", version.version)
    assert plain(kept.input.json_arguments) == [["x", "y", "x"]]
    assert plain(kept.output.json_results) == [[{"word": "x", "count": 2}, {"word": "y", "count": 1}]]
    assert kept.usage.memory_used_bytes > 0


async def test_python_has_files(admin: Stubs) -> None:
    await uploaded(admin, "files-python", "python")
    files, outputs = [executor_pb2.InputFile(name="in/text", data="grün\n".encode() * 1000)], ["out/text"]
    names = ("in/text", "/out/text")
    answer = await invoke(admin, "admin/files-python", f"{DISK}#capitals", *names, files=files, outputs=outputs)
    assert answer.outcome == OK, answer
    assert plain(answer.result.json)[0].keys() == {"ok"}
    assert [(file.name, file.data) for file in answer.files] == [("out/text", "GRÜN\n".encode() * 1000)]


async def test_python_in_a_session_keeps_its_files(admin: Stubs) -> None:
    await uploaded(admin, "kept-python", "python")
    given, outputs = [executor_pb2.InputFile(name="in/text", data=b"text")], ["second"]
    async with OpenSession(admin, "admin/kept-python", files=given, outputs=outputs) as session:
        for number, (source, target) in enumerate((("in/text", "/first"), ("/first", "/second")), 1):
            assert "ok" in await session.value(json_call(number, f"{DISK}#capitals", source, target))
        await session.rest()
    assert b"".join(told.event.file.data for told in session.told) == b"TEXT"
