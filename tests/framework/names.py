"""The fields of requests that name something, found in the contract's descriptors.

An RPC or a field that is added is found by itself. A field of text that is no name of anything has to be listed below,
so that nobody forgets to think of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tests.framework.refusals import METHODS

NO_NAMES = {
    # Words of the caller's own, filters, and what answers tell.
    *("request_id", "etag", "page_token", "function", "argv", "outputs", "text", "name_prefix", "display_name"),
    *(
        "description",
        "sha256",
        "signatures",
        "allowed_users",
        "uid",
        "module_name",
        "reference",
        "live_version",
        "paths",
        "hosts",
    ),
    *("host_function", "string_value", "code", "message", "creator", "resource", "role", "action"),
    # Subjects are known to whoever names them; whose records and modules one sees is asked of the lists.
    *("owner", "new_owner", "subject", "caller"),
}
NAMES = {"module", "version", "name"}
"""Fields that hold the name of something that belongs to somebody."""


SPECIAL = {"CreateGrant-grant.name", "ListExecutions-version", "GetExecutionStats-version"}
"""Grants are named after their module, and labels of versions are no references."""


@dataclass(frozen=True)
class Place:
    """A field that takes a name."""

    method: MethodDescriptor
    way: tuple[str, ...]

    def request(self, name: str) -> Message:
        """Make a request that names something there, and is whole otherwise."""
        request = GetMessageClass(self.method.input_type)()
        for each in places(self.method):
            if each.way != self.way and each.way[0] in {"module", "version", "name"} and str(each) not in SPECIAL:
                each.put(request, name)
        self.put(request, name)
        if self.method.name == "TransferModule":
            setattr(request, "new_owner", "anybody")  # noqa: B010 - a field of this request alone
        return request

    def put(self, request: Any, name: str) -> None:
        for part in self.way[:-1]:
            request = getattr(request, part)
        setattr(request, self.way[-1], name)

    def __str__(self) -> str:
        return f"{self.method.name}-{'.'.join(self.way)}"


def texts(descriptor: Descriptor, way: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the way to every field of text in a message and the contract's messages inside of it."""
    for field in descriptor.fields:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            continue
        if field.message_type is not None and field.message_type.file.package == "hibana.v1":
            if field.message_type.name not in {"ListOfValues", "Value"} and not field.is_repeated:
                yield from texts(field.message_type, (*way, field.name))
        elif field.type == FieldDescriptor.TYPE_STRING:
            yield (*way, field.name)


def places(method: MethodDescriptor) -> list[Place]:
    found = [way for way in texts(method.input_type) if way[-1] not in NO_NAMES]
    return [Place(method, way) for way in found if way[0] != "header"]


PLACES = [place for method in METHODS for place in places(method) if str(place) not in SPECIAL]
