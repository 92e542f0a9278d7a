"""Hypothesis strategies for WIT types and for values of them, in the form they have inside of the service."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from hibana_server.domain.wit import BITS, PRIMITIVES, Type
from hibana_server.domain.wit_values import integer_range

TEXT = st.text(st.characters(codec="utf-8"))
_NAMES = st.lists(st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True), min_size=1, max_size=4, unique=True)


def _compound(inner: st.SearchStrategy[Type]) -> st.SearchStrategy[Type]:
    payload = st.none() | inner
    return st.one_of(
        st.just(Type("bytes")),
        inner.filter(lambda item: item.kind != "u8").map(lambda item: Type("list", (item,))),
        inner.map(lambda item: Type("option", (item,))),
        st.lists(inner, min_size=1, max_size=3).map(lambda items: Type("tuple", tuple(items))),
        st.tuples(payload, payload).map(lambda sides: Type("result", sides)),
        _NAMES.flatmap(lambda names: _named("record", names, inner)),
        _NAMES.flatmap(lambda names: _named("variant", names, payload)),
        st.tuples(st.sampled_from(("enum", "flags")), _NAMES).map(lambda each: Type(each[0], (), tuple(each[1]))),
    )


def _named(kind: str, names: list[str], item: st.SearchStrategy[Any]) -> st.SearchStrategy[Type]:
    items = st.lists(item, min_size=len(names), max_size=len(names))
    return items.map(lambda found: Type(kind, tuple(found), tuple(names)))


TYPES = st.recursive(st.sampled_from(sorted(PRIMITIVES)).map(Type), _compound, max_leaves=6)


def values(type_: Type) -> st.SearchStrategy[Any]:  # noqa: PLR0911 - one for each kind
    """Return a strategy for the values of a type."""
    kind = type_.kind
    if kind in BITS:
        return st.integers(*integer_range(kind))
    match kind:
        case "bool":
            return st.booleans()
        case "f32" | "f64":
            return st.floats(width=32 if kind == "f32" else 64)
        case "char":
            return st.characters(codec="utf-8")
        case "string":
            return TEXT
        case "bytes":
            return st.binary()
        case "list":
            return st.lists(values(type_.item()), max_size=4)
        case "enum":
            return st.sampled_from(type_.names)
        case "flags":
            return st.sets(st.sampled_from(type_.names)).map(lambda got: [name for name in type_.names if name in got])
        case _:
            return _parts(type_)


def _payload(type_: Type | None) -> st.SearchStrategy[Any]:
    return st.none() if type_ is None else values(type_)


def _parts(type_: Type) -> st.SearchStrategy[Any]:
    items = [_payload(item) for item in type_.items]
    match type_.kind:
        case "tuple":
            return st.tuples(*items).map(list)
        case "record":
            return st.tuples(*items).map(lambda found: dict(zip(type_.names, found, strict=True)))
        case "option":
            return st.none() | items[0].map(lambda value: [value])
        case "result":
            return st.one_of(items[0].map(lambda value: [False, value]), items[1].map(lambda value: [True, value]))
        case _:
            cases = [st.tuples(st.just(name), item).map(list) for name, item in zip(type_.names, items, strict=True)]
            return st.one_of(*cases)


TYPED_VALUES: st.SearchStrategy[tuple[Type, Any]] = TYPES.flatmap(
    lambda type_: values(type_).map(lambda value: (type_, value))
)
"""A type and a value of it."""
