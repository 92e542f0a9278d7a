"""A Hypothesis strategy for valid modules, built byte by byte so that every spelling the format allows can come up."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.framework.wasm import function_type, leb, module, name, section, vector

_NUMERIC = b"\x7f\x7e\x7d\x7c"
_CONSTANT = {
    0x7F: b"\x41\x2a",
    0x7E: b"\x42\x7f",
    0x7D: b"\x43" + bytes(4),
    0x7C: b"\x44" + bytes(8),
    0x6F: b"\xd0\x6f",
}


def padded(value: int) -> st.SearchStrategy[bytes]:
    """Spell a number shortly, or with zeros at its end, up to five bytes."""
    short = leb(value)

    def pad(extra: int) -> bytes:
        if not extra:
            return short
        return short[:-1] + bytes((short[-1] | 0x80,)) + b"\x80" * (extra - 1) + b"\0"

    return st.integers(0, 5 - len(short)).map(pad)


def _instruction() -> st.SearchStrategy[bytes]:
    """Return instructions that leave the stack as it was.

    They count on a memory, a table of functions, data, a function of no parameters, and a first local of type i32.
    """
    address = b"\x41\x08"
    return st.one_of(
        st.sampled_from(
            [
                b"\x01",
                b"\x10\x00",
                b"\x41\x02\x41\x03\x6a\x1a",
                b"\x42\x02\xc4\x1a",
                b"\x43" + b"\x0b" * 4 + b"\xfc\x00\x1a",
                address + b"\x28\x02\x04\x1a",
                address + address + b"\x36\x02\x80\x00",
                b"\x3f\x00\x1a",
                b"\x41\x00\x40\x00\x1a",
                b"\x41\0\x41\0\x41\0\xfc\x0a\0\0",
                b"\x41\0\x41\0\x41\0\xfc\x8b\x80\x00\0",
                b"\xfc\x09\x00",
                b"\x41\0\x25\0\x1a",
                b"\xd2\0\x1a",
                b"\xd0\x6f\xd1\x1a",
                b"\xfc\x10\x00\x1a",
                b"\x41\0\x11\0\0",
                b"\xfd\x0c" + b"\x0b" * 16 + b"\xfd\x15\x03\x1a",
                b"\xfd\x0c" + bytes(16) + b"\xfd\x0c" + bytes(16) + b"\xfd\x0d" + bytes(16) + b"\xfd\x80\x01\x1a",
                address + b"\xfd\x0c" + bytes(16) + b"\xfd\x54\x00\x00\x02\x1a",
                address + b"\xfd\x5c\x02\x00\x1a",
                b"\xd0\x70\xd0\x70\x41\0\x1c\x01\x70\x1a",
                b"\x41\1\x41\2\x41\0\x1b\x1a",
                b"\x41\0\x21\0\x20\0\x22\0\x1a",
            ]
        ),
        st.integers(0, 63).flatmap(padded).map(lambda number: b"\x41" + number + b"\x1a"),
        st.sampled_from([b"\x20", b"\x22"]).map(
            lambda opcode: b"\x41\0" * (opcode == b"\x22") + opcode + b"\x80\0\x1a"
        ),
    )


def _blocks(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    code = st.lists(inner, max_size=4).map(b"".join)
    return st.one_of(
        code.map(lambda body: b"\x02\x40" + body + b"\x0b"),
        code.map(lambda body: b"\x02\x40" + body + b"\x41\0\x0d\0\x0b"),
        code.map(lambda body: b"\x03\x40" + body + b"\x0b"),
        st.tuples(code, code).map(lambda pair: b"\x41\0\x04\x40" + pair[0] + b"\x05" + pair[1] + b"\x0b"),
        code.map(lambda body: b"\x02\x7f" + body + b"\x41\x05\x0b\x1a"),
        st.tuples(code, st.integers(0, 40)).map(
            lambda pair: b"\x02\x40" + pair[0] + b"\x41\0\x0e" + leb(pair[1]) + b"\0" * (pair[1] + 1) + b"\x0b"
        ),
    )


_CODE = st.lists(st.recursive(_instruction(), _blocks, max_leaves=12), max_size=8).map(b"".join)


@st.composite
def modules(draw: st.DrawFn) -> bytes:
    """Draw a valid module of core WebAssembly, as the engine's settings have it."""
    results = draw(st.lists(st.sampled_from([*_NUMERIC, 0x6F]), max_size=3))
    parameters = bytes(draw(st.lists(st.sampled_from([*_NUMERIC, 0x6F, 0x70, 0x7B]), max_size=4)))
    count = draw(st.integers(1, 4))
    locals_ = [
        b"\x01\x7f",
        *draw(st.lists(st.sampled_from([b"\x00\x7f", b"\x03\x7e", b"\x02\x7b", b"\x01\x6f"]), max_size=3)),
    ]
    bodies = [name(vector(locals_) + draw(_CODE) + b"\x0b") for _ in range(count)]
    last = vector([]) + b"".join(_CONSTANT[kind] for kind in results) + b"\x0b"
    imported = draw(st.booleans())
    sections = {
        1: vector([function_type(), function_type(parameters, bytes(results)), function_type(b"\x7f")]),
        2: vector([name("env") + name(draw(st.text(max_size=5))) + b"\x03\x7f\x00"] if imported else []),
        3: draw(padded(count + 1)) + b"\0" * count + b"\x01",
        4: draw(st.sampled_from([b"\x01\x70\x00\x02", b"\x02\x70\x01\x02\x09\x6f\x00\x80\x00"])),
        5: draw(st.sampled_from([b"\x01\x00\x01", b"\x01\x01\x01\x90\x00"])),
        6: vector(
            draw(
                st.lists(
                    st.sampled_from(
                        [
                            b"\x7f\x01\x41\x02\x41\x03\x6a\x0b",
                            b"\x70\x00\xd2\0\x0b",
                            b"\x7b\0\xfd\x8c\0" + bytes(16) + b"\x0b",
                        ]
                    ),
                    max_size=3,
                )
            )
        ),
        7: vector(
            [name(each) + b"\0" + draw(padded(count)) for each in draw(st.sets(st.text(max_size=8), max_size=4))]
        ),
        9: vector([*draw(st.lists(st.sampled_from(_ELEMENTS), max_size=4)), b"\x03\x00\x01\x00"]),
        12: b"\x01",
        10: vector([*bodies, name(last)]),
        11: vector([draw(st.sampled_from([b"\x01\x02hi", b"\x00\x41\x00\x0b\x02hi", b"\x02\x00\x41\x00\x0b\x00"]))]),
    }
    written = []
    for identifier, content in sections.items():
        written.append(section(identifier, content))
        if draw(st.booleans()):
            written.append(section(0, name(draw(st.text(max_size=5))) + draw(st.binary(max_size=9))))
    return module(*written)


_ELEMENTS = [
    b"\x00\x41\x00\x0b\x01\x00",
    b"\x80\x00\x41\x00\x0b\x01\x00",
    b"\x01\x00\x02\x00\x00",
    b"\x02\x00\x41\x00\x0b\x00\x01\x00",
    b"\x04\x41\x00\x0b\x02\xd2\x00\x0b\xd0\x70\x0b",
    b"\x05\x6f\x01\xd0\x6f\x0b",
    b"\x06\x00\x41\x01\x0b\x70\x01\xd2\x00\x0b",
    b"\x07\x70\x00",
]
"""One segment of each kind; the kinds of the first are spelled twice."""
