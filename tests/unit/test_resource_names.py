"""What functions on resources are called."""

from __future__ import annotations

import pytest

from hibana_server.domain.modules import Convention, Export, ModuleFacts
from hibana_server.sandbox.shapes.resources import drop_name, frees, typed_name
from tests.framework.guests import described
from tests.framework.wasm import wat


@pytest.mark.parametrize(
    ("exported", "others", "called"),
    [
        ("[constructor]counter", (), "counter.new"),
        ("[method]counter.add-all", (), "counter.add-all"),
        ("[static]counter.from", (), "counter.from"),
        ("[resource-drop]counter", (), "counter.drop"),
        ("[constructor]counter", ("[static]counter.new",), "[constructor]counter"),
        ("[static]counter.new", ("[constructor]counter",), "counter.new"),
        ("[resource-drop]counter", ("[method]counter.drop",), "[resource-drop]counter"),
        ("counter", ("[constructor]counter",), "counter"),
        ("[async]counter.add", (), "[async]counter.add"),
    ],
)
def test_names_to_type(exported: str, others: tuple[str, ...], called: str) -> None:
    assert typed_name(exported, others) == called


def test_what_frees_is_told_by_its_name() -> None:
    assert frees(drop_name("counter"))
    assert frees(f"acme:shop/tills@1.0.0#{drop_name('till')}")
    assert not frees("[method]counter.drop")
    assert not frees("[resource-drop]a#free")


def test_names_of_the_binary_find_functions_of_components_alone() -> None:
    export = Export("counter.new", (), (), callable=True, convention=Convention.COMPONENT, form="[constructor]counter")
    buffer = Export("hash", (), (), callable=True, convention=Convention.BUFFER, form="buffer")
    facts = ModuleFacts(Convention.COMPONENT, exports=(export, buffer))
    assert facts.export("counter.new") is facts.export("[constructor]counter") is export
    assert facts.export("buffer") is None


SHOP = """(component
  (core module $m (func (export "f") (param i32) (result i32) (local.get 0)))
  (core instance $i (instantiate $m))
  {}
)"""
INTERFACE = """
  (type $r{0} (resource (rep i32)))
  (func $f{0} (param "a" (borrow $r{0})) (result u32) (canon lift (core func $i "f")))
  (component $c{0} (import "corner" (type $c (sub resource)))
    (import "f" (func $f (param "a" (borrow $c)) (result u32)))
    (export $named "corner" (type $c)) (export "f" (func $f) (func (param "a" (borrow $named)) (result u32))))
  (instance $out{0} (instantiate $c{0} (with "corner" (type $r{0})) (with "f" (func $f{0}))))
  (export "acme:shapes/{0}@1.0.0" (instance $out{0}))"""


def types(code: bytes) -> dict[str, str]:
    """Return the type of each function's first parameter."""
    return {each.name: each.parameters[0].type for each in described(code).exports}


def test_two_resources_of_one_name_are_told_apart() -> None:
    assert types(wat(SHOP.format(INTERFACE.format("solids") + INTERFACE.format("planes")))) == {
        "acme:shapes/solids@1.0.0#f": "borrow<solids-corner>",
        "acme:shapes/solids@1.0.0#corner.drop": "own<solids-corner>",
        "acme:shapes/planes@1.0.0#f": "borrow<planes-corner>",
        "acme:shapes/planes@1.0.0#corner.drop": "own<planes-corner>",
    }


def test_a_resource_that_is_exported_twice_has_one_name() -> None:
    body = """(type $r (resource (rep i32))) (export $a "corner" (type $r)) (export "edge" (type $a))
      (func (export "f") (param "a" (borrow $a)) (result u32) (canon lift (core func $i "f")))"""
    assert types(wat(SHOP.format(body))) == {"f": "borrow<corner>", "corner.drop": "own<corner>"}


def test_a_function_over_a_resource_of_others_is_told_with_the_reason() -> None:
    body = """(import "wasi:io/streams@0.2.0" (instance $s (export "input-stream" (type (sub resource)))))
      (alias export $s "input-stream" (type $in))
      (func (export "f") (param "a" (borrow $in)) (result u32) (canon lift (core func $i "f")))"""
    (export,) = described(wat(SHOP.format(body))).exports
    assert not export.callable
    assert "is a handle of a resource that is not the component's own" in export.note
