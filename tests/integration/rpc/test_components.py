"""Components: what an upload tells of them, and how they are called."""

from __future__ import annotations

import base64
import json

from hibana.v1 import execution_pb2, module_pb2
from tests.framework.refusals import refused
from tests.framework.stubs import Stubs
from tests.framework.wasm import wat
from tests.integration.rpc.conftest import create, guest, invoke

OK = execution_pb2.OUTCOME_OK


async def test_an_upload_tells_the_functions_of_a_component(caller: Stubs) -> None:
    version = (await create(caller, "component", guest("component_echo"))).version
    assert version.convention == module_pb2.CONVENTION_COMPONENT
    assert version.runnable
    exports = {export.name: export for export in version.exports}
    add = exports["add"]
    assert [(p.name, p.type) for p in add.parameters] == [("left", "s32"), ("right", "s32")]
    assert (list(add.results), add.callable, add.convention) == (["s32"], True, module_pb2.CONVENTION_COMPONENT)
    left = json.loads(add.arguments_schema)["prefixItems"][0]
    assert (left["title"], left["minimum"], left["maximum"]) == ("left", -(2**31), 2**31 - 1)


async def test_a_component_is_called_in_both_forms(caller: Stubs) -> None:
    await create(caller, "echo-component", guest("component_echo"))
    answer = await invoke(caller, "user/echo-component", "bytes", base64.b64encode(b"\0\xff").decode())
    assert (answer.outcome, answer.result.json.values[0].string_value) == (OK, "AP8=")
    wrong = await refused(invoke(caller, "user/echo-component", "add", 2**31, 0))
    assert wrong.reason == "ARGUMENTS_INVALID"


async def test_imports_that_a_component_may_not_have_are_named(caller: Stubs) -> None:
    text = '(component (import "wasi:http/types@0.2.0" (instance)) (import "acme:pets/dog" (instance)))'
    version = (await create(caller, "component-imports", wat(text))).version
    assert not version.runnable
    assert [(i.module, i.kind, i.granted) for i in version.imports] == [
        ("wasi:http/types@0.2.0", "instance", False),
        ("acme:pets/dog", "instance", False),
    ]
    told = [(each.code, each.text) for each in version.findings if each.severity == module_pb2.SEVERITY_ERROR]
    assert [code for code, _ in told] == ["IMPORT_NOT_GRANTED"] * 2
    assert "wasi:http/types@0.2.0" in told[0][1]
    assert "acme:pets/dog" in told[1][1]


async def test_types_that_come_with_a_component_are_refused(caller: Stubs) -> None:
    upload = create(caller, "typed-component", guest("component_echo"), signatures="add: func(a: s32) -> s32")
    told = await refused(upload)
    assert told.reason == "SIGNATURES_INVALID"
    assert "by itself" in told.findings[0].text
