"""The file of a compiled module: what the compiler wrote, what was learned from it, and a seal over both.

    serialized module | description (MessagePack) | trailer

The engine maps the file and ignores what follows its own bytes. The seal is an HMAC-SHA256 under a key that only
the front holds, over tier, key and everything before it: the engine itself accepts a module with a flipped byte.
"""

from __future__ import annotations

import errno
import hmac
import os
import stat
import struct
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hibana_server.domain.modules import ModuleFacts
from hibana_server.domain.tiers import Tier

_MAGIC = b"HIBANA\0\1"
_TRAILER = struct.Struct("<8sI32s32s")  # magic, bytes of the description, judgement, seal
_CHUNK_BYTES = 1 << 20
_MAX_FACTS_BYTES = 8 << 20

_facts_decoder = msgspec.msgpack.Decoder(ModuleFacts)


class Damaged(Exception):
    """The file is not an artifact that this service sealed under this name."""


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What changes when a file is exchanged or written to."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    """Unlike the time of modification nobody can set this one back."""

    @classmethod
    def of(cls, status: os.stat_result) -> FileStamp:
        """Take the stamp from a stat result."""
        return cls(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@dataclass(frozen=True, slots=True)
class SealedModule:
    """A file whose seal holds."""

    facts: ModuleFacts
    judgement: bytes
    """Digest of the policy and the rules that `facts` were judged by."""
    stamp: FileStamp


@dataclass(frozen=True, slots=True)
class Seal:
    """The name an artifact is sealed for, and the secret to do it with."""

    secret: bytes
    tier: Tier
    key: str

    def begin(self) -> hmac.HMAC:
        """Begin a digest that covers the name."""
        return hmac.new(self.secret, f"{self.tier.value}\0{self.key}\0".encode(), "sha256")


def seal_file(descriptor: int, size: int, facts: ModuleFacts, judgement: bytes, seal: Seal) -> None:
    """Append description and trailer to `size` bytes the compiler wrote. Blocks; raises OSError."""
    description = msgspec.msgpack.encode(facts)
    head = _TRAILER.pack(_MAGIC, len(description), judgement, b"")[: -seal.begin().digest_size]
    digest = seal.begin()
    _feed(digest, descriptor, size)
    digest.update(description + head)
    rest = memoryview(description + head + digest.digest())
    offset = size
    while rest:
        written = os.pwrite(descriptor, rest, offset)
        rest, offset = rest[written:], offset + written
    os.fchmod(descriptor, 0o400)


def read_sealed(path: Path, seal: Seal) -> SealedModule:
    """Verify a file. Blocks; raises Damaged, FileNotFoundError, or another OSError when the disk fails."""
    try:
        # O_NONBLOCK: opening a pipe somebody put there must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:
            raise Damaged("no regular file") from error
        raise
    try:
        return _verify(descriptor, seal)
    finally:
        os.close(descriptor)


def _verify(descriptor: int, seal: Seal) -> SealedModule:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise Damaged("no regular file")
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise Damaged("owned or open to another user")
    if status.st_size < _TRAILER.size:
        raise Damaged("too short")
    covered = status.st_size - seal.begin().digest_size
    magic, facts_bytes, judgement, expected = _TRAILER.unpack(
        _read(descriptor, _TRAILER.size, status.st_size - _TRAILER.size)
    )
    if magic != _MAGIC or not 0 < facts_bytes <= min(_MAX_FACTS_BYTES, status.st_size - _TRAILER.size):
        raise Damaged("no trailer")
    digest = seal.begin()
    _feed(digest, descriptor, covered)
    if not hmac.compare_digest(digest.digest(), expected):
        raise Damaged("the seal does not hold")
    description = _read(descriptor, facts_bytes, status.st_size - _TRAILER.size - facts_bytes)
    try:
        facts = _facts_decoder.decode(description)
    except msgspec.DecodeError as error:  # sealed by a release with another form of description
        raise Damaged("the description is of another release") from error
    return SealedModule(facts, judgement, FileStamp.of(status))


def _feed(digest: hmac.HMAC, descriptor: int, size: int) -> None:
    offset = 0
    while offset < size:
        chunk = os.pread(descriptor, min(_CHUNK_BYTES, size - offset), offset)
        if not chunk:
            raise Damaged("the file became shorter")
        digest.update(chunk)
        offset += len(chunk)


def _read(descriptor: int, size: int, offset: int) -> bytes:
    data = os.pread(descriptor, size, offset)
    if len(data) != size:
        raise Damaged("the file became shorter")
    return data
