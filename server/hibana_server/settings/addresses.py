"""Addresses to listen on: `HOST:PORT`, with IPv6 hosts in brackets."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port; port 0 takes a free one."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Tell whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def reachable_in_clear(listen: Address | None, http: Address | None, *, tls: bool) -> list[Address]:
    """Return the addresses that other machines reach and that speak clear text; `tls`: whether gRPC speaks TLS."""
    clear = (http,) if tls else (listen, http)
    return [address for address in clear if address is not None and not address.is_loopback]


def parse_address(text: str) -> Address:
    """Read an address. Raises ValueError that says what is accepted."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not an address; write HOST:PORT, e.g. 127.0.0.1:50051 or [::1]:50051")
    return Address(host, int(port))
