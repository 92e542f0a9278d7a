"""How often one address may come with credentials that do not hold."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict

from hibana_server.domain.errors import Exhausted

_KEPT = 10_000
"""Addresses that are remembered; the one that failed longest ago goes first."""
_V6_NETWORK = 64
"""Bits of an IPv6 address that one subscriber has in common."""


class FailureLimit:
    """A bucket for each address: it fills in a minute, and each failure takes one out.

    Only failures are counted and refused: good credentials from the same address, behind the same
    proxy perhaps, are never held up.
    """

    def __init__(self, per_minute: int) -> None:
        """Take the number of failures an address may have in a minute; 0 counts none."""
        self._most = per_minute
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Address -> what is left, and when that was so."""
        self.refused = 0
        """Failures past the limit."""

    def failed(self, peer: str) -> None:
        """Count a failure of a peer as grpc names it. Raises Exhausted past the limit."""
        if not self._most:
            return
        address, now = address_of(peer), time.monotonic()
        left, then = self._buckets.pop(address, (float(self._most), now))
        left = min(self._most, left + (now - then) * self._most / 60.0)
        over = left < 1.0
        self._buckets[address] = (left if over else left - 1.0, now)
        if len(self._buckets) > _KEPT:
            self._buckets.popitem(last=False)
        if over:
            self.refused += 1
            raise Exhausted(
                "too many credentials that do not hold from this address; wait, and mend the token",
                reason="TOO_MANY_FAILURES",
                retry_after=(1.0 - left) * 60.0 / self._most,
            )


def address_of(peer: str) -> str:
    """Return what a peer (`ipv4:1.2.3.4:5`, `ipv6:%5B::1%5D:5`, `unix:...`) has in common with its next connection."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return kind
    host = rest.rpartition(":")[0].replace("%5B", "").replace("%5D", "").strip("[]")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host[:64]
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        if mapped is not None:
            return str(mapped)
        return str(ipaddress.ip_network((address, _V6_NETWORK), strict=False))
    return str(address)
