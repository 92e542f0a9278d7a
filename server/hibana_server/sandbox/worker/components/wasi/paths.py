"""wasi:filesystem on the private directory: what is done with names in a directory that a guest has open."""

from __future__ import annotations

from typing import Any

from hibana_server.sandbox.worker.components.wasi.descriptors import (
    ATTRIBUTES,
    FLAGS,
    HASH,
    NEW_TIME,
    SELF,
    attributes,
    change_times,
    directory_of,
    identity,
)
from hibana_server.sandbox.worker.components.wasi.function import HostFunction, file_function
from hibana_server.sandbox.worker.components.wasi.held import Held
from hibana_server.sandbox.worker.files import codes, names
from hibana_server.sandbox.worker.files.codes import Refused
from hibana_server.sandbox.worker.files.tree import Found, resolve

_LOOKUP = "flags { symlink-follow }"
_HOW = "flags { create, directory, exclusive, truncate }"
_HOW_BITS = {
    "create": codes.CREATE,
    "directory": codes.ONLY_DIRECTORY,
    "exclusive": codes.EXCLUSIVE,
    "truncate": codes.TRUNCATE,
}


def _find(held: Held, number: int, path: str, *, follow: bool | None = None) -> Found:
    return resolve(directory_of(held, number), path.encode(), follow=follow)


def _open(held: Held, number: int, lookup: list[str], path: str, how: list[str], flags: list[str]) -> int:
    bits = sum(_HOW_BITS[name] for name in how)
    rights = (codes.READ if "read" in flags else 0) | (codes.WRITE if "write" in flags else 0)
    # Who demands that it makes the file does not want to be led elsewhere by a link.
    found = _find(held, number, path, follow=bool(lookup) and not bits & codes.EXCLUSIVE)
    return names.open_name(held.tree, found, bits, rights, 0, held.hold)


def _make_directory(held: Held, number: int, path: str) -> None:
    found = _find(held, number, path)
    held.tree.make_directory(found.free(), found.name)


def _link(held: Held, number: int, lookup: list[str], path: str, other: int, new: str) -> None:
    if lookup:
        raise Refused(codes.INVAL)
    node = _find(held, number, path).existing()
    names.link(held.tree, node, _find(held, other, new))


def _symlink(held: Held, number: int, target: str, path: str) -> None:
    names.symlink(held.tree, _find(held, number, path), target.encode())


def _readlink(held: Held, number: int, path: str) -> str:
    return names.link_target(_find(held, number, path, follow=False).existing()).decode()


def _rename(held: Held, number: int, path: str, other: int, new: str) -> None:
    held.tree.move(_find(held, number, path), _find(held, other, new))


def _attributes(held: Held, number: int, lookup: list[str], path: str) -> dict[str, Any]:
    return attributes(_find(held, number, path, follow=bool(lookup)).existing())


def _identity(held: Held, number: int, lookup: list[str], path: str) -> dict[str, int]:
    return identity(_find(held, number, path, follow=bool(lookup)).existing())


def _set_times(held: Held, number: int, lookup: list[str], path: str, accessed: list[Any], modified: list[Any]) -> None:
    change_times(_find(held, number, path, follow=bool(lookup)).existing(), accessed, modified)


PATHS: dict[str, HostFunction] = {
    "[method]descriptor.open-at": file_function(_open, SELF, _LOOKUP, "string", _HOW, FLAGS, "own<descriptor>"),
    "[method]descriptor.create-directory-at": file_function(_make_directory, SELF, "string", "_"),
    "[method]descriptor.remove-directory-at": file_function(
        lambda held, number, path: names.remove_directory(held.tree, _find(held, number, path)), SELF, "string", "_"
    ),
    "[method]descriptor.unlink-file-at": file_function(
        lambda held, number, path: names.remove_file(held.tree, _find(held, number, path)), SELF, "string", "_"
    ),
    "[method]descriptor.link-at": file_function(_link, SELF, _LOOKUP, "string", SELF, "string", "_"),
    "[method]descriptor.symlink-at": file_function(_symlink, SELF, "string", "string", "_"),
    "[method]descriptor.readlink-at": file_function(_readlink, SELF, "string", "string"),
    "[method]descriptor.rename-at": file_function(_rename, SELF, "string", SELF, "string", "_"),
    "[method]descriptor.stat-at": file_function(_attributes, SELF, _LOOKUP, "string", ATTRIBUTES),
    "[method]descriptor.set-times-at": file_function(_set_times, SELF, _LOOKUP, "string", NEW_TIME, NEW_TIME, "_"),
    "[method]descriptor.metadata-hash-at": file_function(_identity, SELF, _LOOKUP, "string", HASH),
}
