"""Builders of modules that cost their reader or compiler far more than their size."""

from __future__ import annotations

from tests.framework.wasm import function_type, leb, module, name, section, vector

TYPE, IMPORT, FUNCTION, TABLE, MEMORY, GLOBAL, EXPORT, ELEMENT, CODE, DATA = 1, 2, 3, 4, 5, 6, 7, 9, 10, 11
I32 = b"\x7f"
END = b"\x0b"
MOST = 0xFFFFFFFF


def one_function(body: bytes, parameters: bytes = b"", results: bytes = b"") -> bytes:
    """Build a module that exports one function, `run`; the body begins with its locals."""
    return module(
        section(TYPE, vector([function_type(parameters, results)])),
        section(FUNCTION, vector([b"\0"])),
        section(EXPORT, vector([name("run") + b"\0\0"])),
        section(CODE, vector([leb(len(body)) + body])),
    )


def nested(depth: int, opening: bytes = b"\x02\x40") -> bytes:
    """Build a function of blocks within blocks."""
    return one_function(b"\0" + opening * depth + END * depth + END)


def br_table(targets: int, tables: int = 1) -> bytes:
    """Build a function of jump tables."""
    table = b"\x02\x40\x41\0\x0e" + leb(targets) + b"\0" * targets + b"\0" + END
    return one_function(b"\0" + table * tables + END)


def branches_to_one_block(count: int) -> bytes:
    """Build a function whose one block has this many ways into it, each with a value."""
    ways = b"\x41\0\x20\0\x0d\0\x1a" * count
    return one_function(b"\0\x02\x7f" + ways + b"\x41\0" + END + b"\x1a" + END, I32)


def straight(operations: int) -> bytes:
    """Build one long function without a branch; nothing in it can be left out."""
    step = b"\x20\0\x41\x07\x6c\x20\0\x73\x21\0"
    return one_function(b"\0" + step * operations + b"\x20\0" + END, I32, I32)


def calls_with(parameters: int, calls: int) -> bytes:
    """Build a function that calls itself with many arguments, many times."""
    call = b"\x41\0" * parameters + b"\x10\0"
    return one_function(b"\0" + call * calls + END, I32 * parameters)


def many_types(count: int, values: int) -> bytes:
    """Build a module of function types only."""
    return module(section(TYPE, leb(count) + function_type(I32 * values) * count))


def exports_of_one(count: int) -> bytes:
    """Build one function with many names."""
    names = b"".join(name(str(i)) + b"\0\0" for i in range(count))
    return module(
        section(TYPE, vector([function_type()])),
        section(FUNCTION, vector([b"\0"])),
        section(EXPORT, leb(count) + names),
        section(CODE, vector([b"\x02\0" + END])),
    )


def imports_of_one(count: int) -> bytes:
    """Build a module that imports the same thing again and again."""
    one = name("env") + name("abort") + b"\0\0"
    return module(section(TYPE, vector([function_type()])), section(IMPORT, leb(count) + one * count))


def export_name(title: str | bytes) -> bytes:
    """Build a module with one exported function of this name."""
    return module(
        section(TYPE, vector([function_type()])),
        section(FUNCTION, vector([b"\0"])),
        section(EXPORT, vector([name(title) + b"\0\0"])),
        section(CODE, vector([b"\x02\0" + END])),
    )


def jump_table_of_nothing() -> bytes:
    """Build a jump table that promises 4 billion targets and ends."""
    return one_function(b"\0\x41\0\x0e" + leb(MOST) + END)


def locals_of_nothing() -> bytes:
    """Build a function that declares 4 billion locals in 6 bytes."""
    return one_function(b"\x01" + leb(MOST) + I32 + END)


def exports_twice() -> bytes:
    """Build two exports of one name."""
    return module(
        section(TYPE, vector([function_type()])),
        section(FUNCTION, vector([b"\0"])),
        section(EXPORT, vector([name("run") + b"\0\0"] * 2)),
        section(CODE, vector([b"\x02\0" + END])),
    )


def globals_without_end(count: int) -> bytes:
    """Build many globals."""
    return module(section(GLOBAL, leb(count) + b"\x7f\0\x41\0\x0b" * count))


def locals_in_groups(count: int) -> bytes:
    """Build a function that declares its locals one by one."""
    return one_function(leb(count) + b"\x01\x7f" * count + END)


def results(count: int) -> bytes:
    """Build a type with many results."""
    return module(section(TYPE, vector([function_type(b"", I32 * count)])))


def promised(identifier: int) -> bytes:
    """Build a section that promises 4 billion entries and holds none."""
    return module(section(identifier, leb(MOST)))


def data_segments(count: int) -> bytes:
    """Build a memory with many empty data segments."""
    return module(section(MEMORY, vector([b"\0\x01"])), section(DATA, leb(count) + b"\0\x41\0\x0b\0" * count))


def element_segments(count: int) -> bytes:
    """Build a table with many empty element segments."""
    return module(section(TABLE, vector([b"\x70\0\x01"])), section(ELEMENT, leb(count) + b"\0\x41\0\x0b\0" * count))
