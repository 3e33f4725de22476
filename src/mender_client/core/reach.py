"""The scope of addresses: this device, its link, its network, or everywhere.

A server may direct the client only to addresses whose scope is at least as wide as that of its own: a link or redirect
could otherwise lead to local services, or to the metadata service of a cloud (169.254.169.254).
"""

from __future__ import annotations

import ipaddress
from enum import IntEnum


class Reach(IntEnum):
    """From where an address can be reached."""

    DEVICE = 0
    LINK = 1
    NETWORK = 2
    EVERYWHERE = 3


_NETWORKS = (
    *(ipaddress.ip_network(one) for one in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")),
    *(ipaddress.ip_network(one) for one in ("fc00::/7", "fec0::/10")),
)
_THIS_DEVICE = ipaddress.ip_network("0.0.0.0/8")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def reach_of(host: str) -> Reach:
    """The scope of a host by its address (brackets and zone allowed); a name is EVERYWHERE, except for localhost."""
    name = host.strip("[]").partition("%")[0].rstrip(".").lower()
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return Reach.DEVICE if name == "localhost" or name.endswith(".localhost") else Reach.EVERYWHERE
    if isinstance(address, ipaddress.IPv6Address):
        address = _embedded(address) or address
    if address.is_loopback or address.is_unspecified or address in _THIS_DEVICE:
        return Reach.DEVICE
    if address.is_link_local:
        return Reach.LINK
    return Reach.NETWORK if any(address in network for network in _NETWORKS) else Reach.EVERYWHERE


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that is embedded in an IPv6 address, if any."""
    if address in _NAT64:
        return ipaddress.IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour
