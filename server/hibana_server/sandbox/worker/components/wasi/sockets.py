"""wasi:sockets where streams are our own: there is no network, and what would work on a socket is never reached."""

from __future__ import annotations

from typing import Any, NoReturn

from hibana_server.sandbox.worker.components.wasi.function import HostFunction, function
from hibana_server.sandbox.worker.components.wasi.held import Held

_ERROR = "enum { not-supported, permanent-resolver-failure }"
_FAMILY = "enum { ipv4, ipv6 }"
_BUFFERS = ("receive-buffer-size", "send-buffer-size")
_KEPT_ALIVE = ("keep-alive-enabled", "keep-alive-idle-time", "keep-alive-interval", "keep-alive-count", "hop-limit")
_BOUND = ("start-bind", "finish-bind", "local-address", "remote-address", "address-family", "subscribe")
_TCP = (
    *_BOUND,
    "start-connect",
    "finish-connect",
    "start-listen",
    "finish-listen",
    "accept",
    "is-listening",
    "set-listen-backlog-size",
    "shutdown",
    *_BUFFERS,
    *_KEPT_ALIVE,
    *(f"set-{name}" for name in (*_BUFFERS, *_KEPT_ALIVE)),
)
_UDP_SIZES = (*_BUFFERS, "unicast-hop-limit")
_UDP = (*_BOUND, "stream", *_UDP_SIZES, *(f"set-{name}" for name in _UDP_SIZES))


class Network:
    """The network, which is empty."""


def _no_socket(_held: Held, _family: str) -> list[Any]:
    return [True, "not-supported"]


def _no_address(_held: Held, _network: int, _name: str) -> list[Any]:
    return [True, "permanent-resolver-failure"]


def _unreachable(held: Held, *_arguments: Any) -> NoReturn:
    held.end("the guest used a socket that does not exist")


def _methods(resource: str, names: tuple[str, ...]) -> dict[str, HostFunction]:
    return {f"[method]{resource}.{name}": HostFunction((), None, _unreachable) for name in names}


SOCKETS: dict[str, dict[str, HostFunction]] = {
    "wasi:sockets/network": {},
    "wasi:sockets/instance-network": {
        "instance-network": function(lambda held: held.hold(Network()), "own<network>"),
    },
    "wasi:sockets/ip-name-lookup": {
        "resolve-addresses": function(
            _no_address, "borrow<network>", "string", f"result<own<resolve-address-stream>, {_ERROR}>"
        ),
        **_methods("resolve-address-stream", ("resolve-next-address", "subscribe")),
    },
    "wasi:sockets/tcp": _methods("tcp-socket", _TCP),
    "wasi:sockets/tcp-create-socket": {
        "create-tcp-socket": function(_no_socket, _FAMILY, f"result<own<tcp-socket>, {_ERROR}>"),
    },
    "wasi:sockets/udp": {
        **_methods("udp-socket", _UDP),
        **_methods("incoming-datagram-stream", ("receive", "subscribe")),
        **_methods("outgoing-datagram-stream", ("check-send", "send", "subscribe")),
    },
    "wasi:sockets/udp-create-socket": {
        "create-udp-socket": function(_no_socket, _FAMILY, f"result<own<udp-socket>, {_ERROR}>"),
    },
}
"""By interface and name."""
