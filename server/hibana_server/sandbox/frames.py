"""Typed frames between the front and a sandbox worker.

A frame on a worker's channel is a length (4 bytes, little endian) and a MessagePack array. The
worker may be taken over by its guest: what it sends is bounded and checked before it is believed.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import msgspec

HEADER: Final = struct.Struct("<I")
MAX_FROM_WORKER: Final = 1024 * 1024
"""Longest frame the front reads, bytes."""
MAX_TO_WORKER: Final = 16 * 1024 * 1024
"""Longest frame a worker reads, bytes: 4 MiB of input and what goes with it."""
OUTPUT_PIECE: Final = 256 * 1024
"""Output, or bulk of a result, in one frame at most, bytes."""
INLINE_BYTES: Final = 4096
"""Strings and bytes of a result that are longer travel as bulk, before the end and apart from it."""
BULK_TEXT: Final = 1
BULK_BYTES: Final = 2
"""Codes of the MessagePack extensions that stand for bulk in `Done.values`; each holds a `LENGTH` in bytes."""
LENGTH: Final = struct.Struct("<I")

CLOSE_SECONDS: Final = 1.0
"""Time that destructors of the objects of a conversation have at its end, all together."""

LOG_OVERHEAD: Final = 64
"""What a log line counts against the output limit besides its bytes: the front keeps an object for each."""

STDOUT: Final = 0
STDERR: Final = 1
LOG: Final = 2
FILE: Final = 3


class Typed(msgspec.Struct, array_like=True, frozen=True):
    """A function whose arguments and results are values of WIT types, in the form that `domain.wit_values` tells."""

    convention: str
    """How they reach the guest: a `domain.modules.Convention`."""
    parameters: tuple[str, ...]
    """Types in WIT spelling."""
    results: tuple[str, ...]
    forms: tuple[str, ...]
    """For each parameter the class of its array, where the type does not say all; then the function's own, if any."""
    arguments: tuple[Any, ...]


class Component(msgspec.Struct, array_like=True, frozen=True):
    """What one instance of a component may have, besides the tier's numbers."""

    memories: int
    """Linear memories."""
    memory_bytes: int
    """Of each, so that all together stay below the call's limit."""


class Directory(msgspec.Struct, array_like=True, frozen=True):
    """The private directory of a run."""

    files: tuple[tuple[str, bytes], ...]
    """What is in it: names and contents."""
    outputs: tuple[str, ...]
    """Names of the files that are sent back."""
    write_bytes: int
    """What the guest may write into it."""


class Run(msgspec.Struct, array_like=True, tag=1, frozen=True):
    """Front to worker: run one function."""

    call: int
    key: str
    """Key of the artifact."""
    path: str
    """File of the artifact; read only when the worker does not hold the module."""
    size: int
    """Bytes of the artifact."""
    function: str
    arguments: tuple[int | float, ...]
    """Of a core function; empty where `typed` tells."""
    memory_bytes: int
    timeout: float
    output_bytes: int
    host_functions: frozenset[str]
    program: str
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    stdin: bytes
    typed: Typed | None = None
    component: Component | None = None
    """There where the module is a component."""
    directory: Directory | None = None
    """There where the run has one."""


class Open(msgspec.Struct, array_like=True, tag=2, frozen=True):
    """Front to worker: begin a conversation. Its calls follow once it was answered, with a `Done` of call 0."""

    key: str
    path: str
    size: int
    memory_bytes: int
    timeout: float
    """Time that guests of the conversation may run in all, seconds."""
    output_bytes: int
    """Output of the conversation in all; of each call where each has an instance of its own."""
    host_functions: frozenset[str]
    program: str
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    fresh: bool
    """Whether every call gets an instance of its own; otherwise there is one, and stdin comes while it runs."""
    memories: tuple[int, ...] | None = None
    """Of a component, the most pages of each memory of an instance (`component_memory`); None for core modules."""
    directory: Directory | None = None
    """There where the one instance has one."""


class Call(msgspec.Struct, array_like=True, frozen=True):
    """One call of a conversation."""

    call: int
    """Numbered from 1 by the front, in the order of their execution."""
    function: str
    arguments: tuple[int | float, ...]
    memory_bytes: int
    timeout: float
    typed: Typed | None = None


class Calls(msgspec.Struct, array_like=True, tag=3, frozen=True):
    """Front to worker: calls to run one after the other."""

    calls: tuple[Call, ...]


class Feed(msgspec.Struct, array_like=True, tag=4, frozen=True):
    """Front to worker, after `Wants`: the next bytes of stdin, and whether they are the last."""

    data: bytes
    last: bool


class Drop(msgspec.Struct, array_like=True, tag=5, frozen=True):
    """Front to worker: answer a call as cancelled unless it has begun."""

    call: int


class Close(msgspec.Struct, array_like=True, tag=6, frozen=True):
    """Front to worker, while no call is open: end the conversation; `Closed` answers."""


class Out(msgspec.Struct, array_like=True, tag=1, frozen=True):
    """Worker to front: bytes the guest wrote, or after its end the next bytes of a wanted file."""

    stream: int
    data: bytes
    level: int = 0
    """Of a log line; of a file its place in `Directory.outputs`."""


class Done(msgspec.Struct, array_like=True, tag=2, frozen=True):
    """Worker to front: the end of a call."""

    call: int
    outcome: str
    results: tuple[int | float, ...]
    code: str
    message: str
    exit_code: int
    backtrace: tuple[str, ...]
    execution_ns: int
    cpu_ns: int
    memory_bytes: int
    evicted: tuple[str, ...]
    """Keys of modules the worker dropped; what it holds now is what it held, plus this call's, less these."""
    loaded: bool
    """Whether the worker holds this call's module."""
    values: bytes = b""
    """MessagePack of what a `Typed` function returned, one entry for each result; bulk stands in `Bulk` frames."""
    files: tuple[int, ...] = ()
    """For each of `Directory.outputs` the size of the file, all of which was sent; -1 where there is none."""


class Bulk(msgspec.Struct, array_like=True, tag=5, frozen=True):
    """Worker to front, before the end: the next bytes of long strings and bytes of the result, in their order."""

    data: bytes


class Loaded(msgspec.Struct, array_like=True, tag=4, frozen=True):
    """Worker to front: the module of this call had to be loaded, and is; the guest begins now."""

    call: int


class Batch(msgspec.Struct, array_like=True, tag=6, frozen=True):
    """Worker to front: ends of calls of a conversation, in the order of the calls."""

    done: tuple[Done, ...]
    over: bool
    """Whether nothing more can be called: of the calls that are still open none has begun, and none will."""


class Wants(msgspec.Struct, array_like=True, tag=7, frozen=True):
    """Worker to front: the guest waits for stdin."""


class Back(msgspec.Struct, array_like=True, tag=8, frozen=True):
    """Worker to front: these calls, perhaps none, have not begun and will not here: one before them takes long."""

    calls: tuple[int, ...]


class Closed(msgspec.Struct, array_like=True, tag=9, frozen=True):
    """Worker to front: the conversation has ended; the worker waits for a job."""

    execution_ns: int = 0
    """What destructors took of the objects that were still there."""
    cpu_ns: int = 0


class Left(msgspec.Struct, array_like=True, tag=10, frozen=True):
    """Worker to front, once, when the instance of a conversation with a private directory has ended."""

    files: tuple[int, ...]
    """As in `Done`."""
    whole: bool
    """Whether all that the guest left of them fit into the output limit."""


class Broken(msgspec.Struct, array_like=True, tag=3, frozen=True):
    """Worker to front: a defect of the worker itself, which ends with this frame."""

    message: str


class NewWorker(msgspec.Struct, array_like=True, frozen=True):
    """What a worker is forked with, besides its end of the channel."""

    data_bytes: int
    """RLIMIT_DATA of the worker."""
    cache_bytes: int
    """Artifacts the worker keeps mapped."""
    readable: str | None
    """Directory of the artifacts its tier may load: all that the worker can read. None leaves it nothing."""


ToWorker = Run | Open | Calls | Feed | Drop | Close
FromWorker = Out | Done | Bulk | Loaded | Broken | Batch | Wants | Back | Closed | Left

encoder: Final = msgspec.msgpack.Encoder()
to_worker_decoder: Final[msgspec.msgpack.Decoder[ToWorker]] = msgspec.msgpack.Decoder(ToWorker)
worker_decoder: Final[msgspec.msgpack.Decoder[FromWorker]] = msgspec.msgpack.Decoder(FromWorker)
new_worker_decoder: Final = msgspec.msgpack.Decoder(NewWorker)


def pack(frame: ToWorker | FromWorker) -> bytearray:
    """Encode a frame with its length."""
    data = bytearray(HEADER.size)
    encoder.encode_into(frame, data, HEADER.size)
    HEADER.pack_into(data, 0, len(data) - HEADER.size)
    return data
