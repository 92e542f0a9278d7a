"""Write docs/api.md from the contract in proto/ and its comments.

`--check` writes nothing and exits with 1 when the file is not what it would write.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import descriptor_pb2 as pb

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "docs" / "api.md"
PACKAGE = "hibana.v1"
HEAD = """\
# API reference

<!-- Written by `make generate` from proto/hibana/v1. -->

The contract, `hibana.v1`, as its comments tell it; [clients.md](clients.md) shows how to call it, and
[concepts.md](concepts.md) what the words mean. A `·` stands between status codes, reasons are in parentheses.
"""
_SERVICE, _MESSAGE, _ENUM = 6, 4, 5
"""Numbers of FileDescriptorProto's fields, which paths of comments are made of."""
_METHOD, _FIELD, _NESTED, _NESTED_ENUM, _VALUE = 2, 2, 3, 4, 2
_WORD = re.compile(r"[^a-z0-9_ -]")


@dataclass(frozen=True, slots=True)
class Source:
    """A file of the contract with its comments by path."""

    file: pb.FileDescriptorProto
    comments: dict[tuple[int, ...], str]

    def text(self, path: Sequence[int]) -> str:
        """Return the comment above or behind a declaration, its lines without the leading space."""
        lines = self.comments.get(tuple(path), "").splitlines()
        return "\n".join(line.removeprefix(" ").rstrip() for line in lines).strip()


def sources() -> list[Source]:
    """Compile the contract and return its files, those with services first."""
    buf = Path(sys.executable).with_name("buf")
    built = subprocess.run([buf, "build", "-o", "-"], cwd=ROOT, check=True, capture_output=True).stdout
    found = []
    for file in pb.FileDescriptorSet.FromString(built).file:
        if file.package == PACKAGE:
            where = file.source_code_info.location
            found.append(Source(file, {tuple(x.path): x.leading_comments or x.trailing_comments for x in where}))
    first = ("module_registry", "executor", "admin")
    return sorted(
        found, key=lambda source: (*(Path(source.file.name).stem != name for name in first), source.file.name)
    )


def render() -> str:
    """Return the document."""
    parts = [HEAD]
    for source in sources():
        for number, service in enumerate(source.file.service):
            parts += _service(source, number, service)
    for source in sources():
        title = Path(source.file.name).stem.replace("_", " ")
        parts.append(f"## Messages: {title}\n")
        for path, name, message in _messages(source.file):
            parts += _message(source, path, name, message)
        for path, name, enum in _enums(source.file):
            parts += _enum(source, path, name, enum)
    return "\n".join(parts).rstrip() + "\n"


def _service(source: Source, number: int, service: pb.ServiceDescriptorProto) -> Iterator[str]:
    yield f"## {service.name}\n"
    yield f"{source.text([_SERVICE, number])}\n"
    for position, method in enumerate(service.method):
        takes, gives = _link(method.input_type), _link(method.output_type)
        takes = f"stream of {takes}" if method.client_streaming else takes
        gives = f"stream of {gives}" if method.server_streaming else gives
        yield f"### {method.name}\n"
        yield f"{takes} → {gives}\n"
        yield f"{source.text([_SERVICE, number, _METHOD, position])}\n"


def _messages(file: pb.FileDescriptorProto) -> Iterator[tuple[list[int], str, pb.DescriptorProto]]:
    def inside(
        path: list[int], name: str, message: pb.DescriptorProto
    ) -> Iterator[tuple[list[int], str, pb.DescriptorProto]]:
        yield path, name, message
        for number, nested in enumerate(message.nested_type):
            if not nested.options.map_entry:
                yield from inside([*path, _NESTED, number], f"{name}.{nested.name}", nested)

    for number, message in enumerate(file.message_type):
        yield from inside([_MESSAGE, number], message.name, message)


def _enums(file: pb.FileDescriptorProto) -> Iterator[tuple[list[int], str, pb.EnumDescriptorProto]]:
    for number, enum in enumerate(file.enum_type):
        yield [_ENUM, number], enum.name, enum
    for path, name, message in _messages(file):
        for number, enum in enumerate(message.enum_type):
            yield [*path, _NESTED_ENUM, number], f"{name}.{enum.name}", enum


def _message(source: Source, path: list[int], name: str, message: pb.DescriptorProto) -> Iterator[str]:
    yield f"### {name}\n"
    if text := source.text(path):
        yield f"{text}\n"
    maps = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
    if message.field:
        yield "| field | type | |\n|---|---|---|"
        for number, field in enumerate(message.field):
            text = _cell(source.text([*path, _FIELD, number]))
            one_of = ""
            if field.HasField("oneof_index") and not field.proto3_optional:
                one_of = f"One of `{message.oneof_decl[field.oneof_index].name}`. "
            yield f"| `{field.name}` | {_type(field, maps)} | {one_of}{text} |"
        yield ""


def _enum(source: Source, path: list[int], name: str, enum: pb.EnumDescriptorProto) -> Iterator[str]:
    yield f"### {name}\n"
    if text := source.text(path):
        yield f"{text}\n"
    yield "| value | number | |\n|---|---|---|"
    for number, value in enumerate(enum.value):
        yield f"| `{value.name}` | {value.number} | {_cell(source.text([*path, _VALUE, number]))} |"
    yield ""


def _type(field: pb.FieldDescriptorProto, maps: dict[str, pb.DescriptorProto]) -> str:
    entry = maps.get(field.type_name.rpartition(".")[2])
    if entry is not None:
        key, value = entry.field
        return f"map of {_scalar(key)} to {_scalar(value)}"
    repeated = field.label == pb.FieldDescriptorProto.LABEL_REPEATED
    optional = "optional " if field.proto3_optional else ""
    return f"{'list of ' if repeated else optional}{_scalar(field)}"


def _scalar(field: pb.FieldDescriptorProto) -> str:
    if field.type_name:
        return _link(field.type_name)
    return pb.FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def _link(type_name: str) -> str:
    name = type_name.removeprefix(".")
    if not name.startswith(f"{PACKAGE}."):
        return f"`{name}`"
    name = name.removeprefix(f"{PACKAGE}.")
    return f"[{name}](#{_WORD.sub('', name.lower()).replace(' ', '-')})"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> int:
    """Write the document, or check it."""
    text = render()
    if "--check" not in sys.argv[1:]:
        FILE.write_text(text, encoding="utf-8")
        return 0
    if FILE.exists() and FILE.read_text(encoding="utf-8") == text:
        return 0
    print("docs/api.md is not what proto/ says: run `make generate`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
