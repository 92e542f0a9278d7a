"""Which module carries out which convention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from hibana_server.domain.modules import Convention
from hibana_server.sandbox.worker.conventions.assemblyscript import AssemblyScript
from hibana_server.sandbox.worker.conventions.buffer import ThroughBuffer
from hibana_server.sandbox.worker.conventions.instance import Instance
from hibana_server.sandbox.worker.conventions.plain import Plain
from hibana_server.sandbox.worker.conventions.signature import Signature
from hibana_server.sandbox.worker.conventions.wasm_bindgen import WasmBindgen


class Calls(Protocol):
    """A convention."""

    def call(self, instance: Instance, name: str, signature: Signature, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Call a function with values of its types and return those of its results.

        Raises what `ends` holds: BadOutputError for whatever the guest gave that cannot be read, FailedError when it
        failed. Nothing else escapes, whatever its memory holds.
        """


CONVENTIONS: Mapping[str, Calls] = {
    Convention.PACKED_BYTES.value: Plain(Convention.PACKED_BYTES),
    Convention.C_STRINGS.value: Plain(Convention.C_STRINGS),
    Convention.WASM_BINDGEN.value: WasmBindgen(),
    Convention.ASSEMBLYSCRIPT.value: AssemblyScript(),
    Convention.BUFFER.value: ThroughBuffer(),
}
