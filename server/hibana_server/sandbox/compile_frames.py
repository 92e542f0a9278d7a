"""What the front asks of a compile worker and what it answers; front and worker share it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hibana_server.domain.modules import Finding, ModuleFacts, Severity
from hibana_server.domain.tiers import Tier, TierPolicy

MAX_ANSWER_BYTES = 8 * 1024 * 1024
"""Longest answer the front reads; the gate's limits keep descriptions far below."""

MAX_SIGNATURES_BYTES = 256 * 1024
"""Longest text of types that comes with an upload."""

ENOSPC_STATUS = 28
"""Exit status of a worker that found the disk full."""


class CompileRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One job. Descriptors go with it, in the order of `descriptors`; in their places are the sender's numbers."""

    wasm_fd: int
    """Readable; the module's bytes from offset 0."""
    output_fd: int
    """Writable and empty; takes the serialized module. -1 where the module is only described."""
    sha256: str
    """Lower-case hex digest the bytes must have."""
    tier: Tier
    policy: TierPolicy
    cpu_seconds: int
    address_space_bytes: int
    output_bytes: int
    """Largest artifact."""
    signatures_fd: int = -1
    """Readable; types that came with the upload, UTF-8 from offset 0. -1 where none did."""
    parent_pid: int = 0
    """The process that the worker shall not outlive: the one it was forked from, which puts that in."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What goes with it."""
        return tuple(each for each in (self.wasm_fd, self.output_fd, self.signatures_fd) if each >= 0)

    def received(self, descriptors: Sequence[int], parent_pid: int) -> CompileRequest:
        """Put the numbers that the descriptors have here in the place of the sender's."""
        here = dict(zip(self.descriptors, descriptors, strict=True)) | {-1: -1}
        return msgspec.structs.replace(
            self,
            wasm_fd=here[self.wasm_fd],
            output_fd=here[self.output_fd],
            signatures_fd=here[self.signatures_fd],
            parent_pid=parent_pid,
        )


class Accepted(msgspec.Struct, tag="accepted", frozen=True):
    """The module compiled; the artifact is in the output file."""

    facts: ModuleFacts
    size: int
    """Bytes written."""


class Refused(msgspec.Struct, tag="refused", frozen=True):
    """The module was refused; `reason` is a name of `hibana.v1.ErrorReason` without its prefix."""

    reason: str
    findings: tuple[Finding, ...]


def out_of_memory(address_space_bytes: int) -> Refused:
    """Build the refusal of a module that takes the compiler more memory than it has."""
    limit = f"{address_space_bytes >> 20} MiB of memory, which is what the compiler has for every module"
    text = f"Compiling the module needs more than {limit}."
    fix = "Split its largest functions, or build with optimisation."
    return Refused("COMPILE_BUDGET", (Finding(Severity.ERROR, "COMPILE_BUDGET", text, fix),))


CompileAnswer = Accepted | Refused

_requests = msgspec.msgpack.Decoder(CompileRequest)
_answers: msgspec.msgpack.Decoder[CompileAnswer] = msgspec.msgpack.Decoder(CompileAnswer)


def encode_request(request: CompileRequest) -> bytes:
    """Encode a request; it is far shorter than a message to a zygote may be."""
    return msgspec.msgpack.encode(request)


def decode_request(data: bytes) -> CompileRequest:
    """Decode a request. Raises msgspec.DecodeError."""
    return _requests.decode(data)


def encode_answer(answer: CompileAnswer) -> bytes:
    """Encode an answer; the end of the stream is the end of the message."""
    return msgspec.msgpack.encode(answer)


def decode_answer(data: bytes) -> CompileAnswer:
    """Decode an answer. Raises msgspec.ValidationError or msgspec.DecodeError for anything else."""
    return _answers.decode(data)
