"""The file that tells the newest places of the audit log's chains, sealed with the server's key.

Whoever can write the database alone cannot remove its newest entries unnoticed: this file, and the log lines that tell
the same, know of them.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from hibana_server.domain.audit import Kind
from hibana_server.domain.audit_chain import Head, Place, head_seal, same
from hibana_server.storage.data_dir import sync_directory

_MOST_BYTES = 65_536


class HeadDamagedError(Exception):
    """The file is there and is none that this server's key sealed."""


def read_head(path: Path, key: bytes) -> Head | None:
    """Return what the file tells; None where there is none. Raises HeadDamagedError, OSError."""
    try:
        with path.open("rb") as file:
            told = json.loads(file.read(_MOST_BYTES))
        head = {Kind(kind): Place(int(each[0]), bytes.fromhex(each[1])) for kind, each in told["chains"].items()}
        seal = bytes.fromhex(told["seal"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise HeadDamagedError(f"{path.name} is no file that this server wrote") from None
    if not same(seal, head_seal(key, head)):
        raise HeadDamagedError(
            f"{path.name} is not sealed by this server's key: somebody else wrote it, or keys/audit.key was replaced"
        )
    return head


def write_head(path: Path, key: bytes, head: Head) -> None:
    """Replace the file, so that it survives power loss; blocking. Raises OSError."""
    chains = {kind.value: [place.sequence, place.hash.hex()] for kind, place in head.items()}
    text = json.dumps({"chains": chains, "seal": head_seal(key, head).hex()}) + "\n"
    temporary = path.with_name(f".{path.name}.new")
    with suppress(FileNotFoundError):
        temporary.unlink()
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)
