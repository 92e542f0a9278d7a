"""Tell a core module from everything else that gets uploaded by mistake or on purpose."""

from __future__ import annotations

from hibana_server.sandbox.gate.errors import Malformed

MAGIC = b"\0asm"
CORE_VERSION = b"\x01\0\0\0"
COMPONENT_HEADER = MAGIC + b"\x0d\0\x01\0"
_COMPONENT_LAYER = b"\x01\0"

_ELF_OS_ABI_WASMTIME = 200
_BUILD = "Upload the .wasm file that the compiler or linker wrote."
_UNPACK = "Unpack it and upload the .wasm file inside."

# First bytes, what they are, what to do instead.
_LOOKS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "gzip data", _UNPACK),
    (b"PK\x03\x04", "a zip archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "zstandard data", _UNPACK),
    (b"BZh", "bzip2 data", _UNPACK),
    (b"\xfd7zXZ\0", "xz data", _UNPACK),
    (b"MZ", "a Windows program", "Build for a wasm32 target."),
    (b"\xcf\xfa\xed\xfe", "a macOS program", "Build for a wasm32 target."),
    (b"!<arch>\n", "a static library", "Link it and upload the .wasm file."),
    (b"BC\xc0\xde", "LLVM bitcode", "Compile it for a wasm32 target and link it."),
    (b"AGFzb", "base64 text of a module", "Decode it and upload the bytes."),
    (b"0061736d", "hexadecimal text of a module", "Decode it and upload the bytes."),
    (b"%PDF", "a PDF document", _BUILD),
    (b"\x89PNG", "a PNG picture", _BUILD),
    (b"#!", "a script", "Compile it to WebAssembly first."),
    (b"<", "HTML or XML text", "The download may have answered an error page; " + _BUILD[0].lower() + _BUILD[1:]),
    (b"{", "JSON text", _BUILD),
)


def is_component(data: bytes) -> bool:
    """Tell whether the bytes begin as a component does."""
    return data.startswith(COMPONENT_HEADER)


def check_header(data: bytes) -> None:
    """Demand the 8 bytes every core module begins with, and say what other bytes look like."""
    if data.startswith(MAGIC + CORE_VERSION):
        return
    if not data:
        raise Malformed("The module is empty.", _BUILD)
    if data.startswith(MAGIC):
        raise _other_version(data)
    if MAGIC.startswith(data[:4]) and len(data) < 4:
        raise Malformed("The module ends inside its header.", "Upload it again; the file was cut off.")
    what, fix = _looks_like(data)
    raise Malformed(f"The bytes look like {what}, not like a WebAssembly module.", fix)


def _other_version(data: bytes) -> Malformed:
    if len(data) < 8:
        return Malformed("The module ends inside its header.", "Upload it again; the file was cut off.")
    if data[6:8] == _COMPONENT_LAYER:
        draft = int.from_bytes(data[4:6], "little")
        return Malformed(
            f"The component has binary format version {draft}; version 13 is supported.",
            "Build it with a current toolchain.",
        )
    version = int.from_bytes(data[4:8], "little")
    return Malformed(f"The module has binary format version {version}; version 1 is supported.", _BUILD)


def _looks_like(data: bytes) -> tuple[str, str]:
    if data.startswith(b"\x7fELF"):
        if len(data) > 7 and data[7] == _ELF_OS_ABI_WASMTIME:
            return "a precompiled module (.cwasm)", "Upload the .wasm file it was made from; it is compiled here."
        return "a native ELF program", "Build for a wasm32 target."
    for start, what, fix in _LOOKS:
        if data.startswith(start):
            return what, fix
    head = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith((b"(module", b"(component", b"(;", b";;", b"(;;")):
        return "WebAssembly text (WAT)", "Convert it with wat2wasm or `wasm-tools parse` and upload the binary."
    printable = sum(32 <= byte < 127 or byte in b"\t\n\r" for byte in head)
    if head and printable == len(head):
        return "text", "Compile it to WebAssembly first."
    return f"unknown binary data (first bytes {data[:4].hex(' ')})", _BUILD
