"""What a component may import: interfaces of WASI 0.2, by name.

Everything here gives a component what the call brought along (argv, env, stdin), takes its output, and tells the time
and random numbers. Files and the network can be imported, since language runtimes do, and are empty, but for files that
the call brings: no directory of the machine is ever opened, no socket ever made.
"""

from __future__ import annotations

import re

from hibana_server.sandbox.imports import Granted, NotGranted, Provider

_PACKAGES: dict[str, frozenset[str]] = {
    "cli": frozenset(
        {
            "environment",
            "exit",
            "stderr",
            "stdin",
            "stdout",
            "terminal-input",
            "terminal-output",
            "terminal-stderr",
            "terminal-stdin",
            "terminal-stdout",
        }
    ),
    "clocks": frozenset({"monotonic-clock", "wall-clock"}),
    "filesystem": frozenset({"preopens", "types"}),
    "io": frozenset({"error", "poll", "streams"}),
    "random": frozenset({"insecure", "insecure-seed", "random"}),
    "sockets": frozenset(
        {
            "instance-network",
            "ip-name-lookup",
            "network",
            "tcp",
            "tcp-create-socket",
            "udp",
            "udp-create-socket",
        }
    ),
}
_NAME = re.compile(r"wasi:(?P<package>[a-z-]+)/(?P<interface>[a-z0-9-]+)(?:@(?P<version>[0-9A-Za-z.+-]+))?\Z")
_RELEASED = re.compile(r"0\.2\.[0-9]+\Z")
RUN = re.compile(r"wasi:cli/run@0\.2\.[0-9]+#run\Z")
"""The export that makes a component a program."""
PROGRAM = "_start"
"""Under this name it is called like a program of preview 1."""


def judge_interface(name: str) -> Granted | NotGranted:
    """Decide on the import of an interface, or of anything else that a component imports by name."""
    found = _NAME.match(name)
    if found is None:
        return NotGranted(
            "is no interface of WASI",
            "Link what it names into the component (`wasm-tools compose`, `wac plug`), or do without it.",
        )
    package, interface, version = found.groups()
    if package == "http":
        return NotGranted(
            "would give the component the network",
            "Build without wasi:http (jco, componentize-js: `--disable http`; Python: do not import it), and pass the "
            "data in as an argument or on stdin.",
        )
    if not version or not _RELEASED.match(version):
        return NotGranted(
            f"is of version {version or 'none'}, served is 0.2", "Build with a toolchain for WASI 0.2 (wasip2)."
        )
    if interface not in _PACKAGES.get(package, frozenset()):
        return NotGranted("is not served", f"Do without it; served are wasi:{{{','.join(sorted(_PACKAGES))}}}@0.2.")
    return Granted(Provider.WASI)
