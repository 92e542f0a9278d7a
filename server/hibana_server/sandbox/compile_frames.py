"""What the front asks of a compile worker and what it answers; front and worker share it."""

from __future__ import annotations

import msgspec

from hibana_server.domain.modules import Finding, ModuleFacts
from hibana_server.domain.tiers import Tier, TierPolicy

MAX_ANSWER_BYTES = 8 * 1024 * 1024
"""Longest answer the front reads; the gate's limits keep descriptions far below."""

MAX_SIGNATURES_BYTES = 256 * 1024
"""Longest text of types that comes with an upload."""

ENOSPC_STATUS = 28
"""Exit status of a worker that found the disk full."""


class CompileRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One job, passed as JSON in the only argument. Descriptors are inherited under the same numbers."""

    wasm_fd: int
    """Readable; the module's bytes from offset 0."""
    output_fd: int
    """Writable and empty; takes the serialized module. -1 where the module is only described."""
    sha256: str
    """Lower-case hex digest the bytes must have."""
    tier: Tier
    policy: TierPolicy
    parent_pid: int
    cpu_seconds: int
    address_space_bytes: int
    output_bytes: int
    """Largest artifact."""
    signatures_fd: int = -1
    """Readable; types that came with the upload, UTF-8 from offset 0. -1 where none did."""


class Accepted(msgspec.Struct, tag="accepted", frozen=True):
    """The module compiled; the artifact is in the output file."""

    facts: ModuleFacts
    size: int
    """Bytes written."""


class Refused(msgspec.Struct, tag="refused", frozen=True):
    """The module was refused; `reason` is a name of `hibana.v1.ErrorReason` without its prefix."""

    reason: str
    findings: tuple[Finding, ...]


CompileAnswer = Accepted | Refused

_answers: msgspec.msgpack.Decoder[CompileAnswer] = msgspec.msgpack.Decoder(CompileAnswer)


def encode_answer(answer: CompileAnswer) -> bytes:
    """Encode an answer; the end of the stream is the end of the message."""
    return msgspec.msgpack.encode(answer)


def decode_answer(data: bytes) -> CompileAnswer:
    """Decode an answer. Raises msgspec.ValidationError or msgspec.DecodeError for anything else."""
    return _answers.decode(data)
