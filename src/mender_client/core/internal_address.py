"""Addresses that lead into this device or no further than its own cable: nobody outside may send us there."""

from __future__ import annotations

import ipaddress


def is_internal_address(host: str) -> bool:
    """Whether a host, by its name or address alone, is this device or on its link.

    A storage that redirects there would use the client to reach what only listens inside, or the service by which
    clouds hand out their secrets (169.254.169.254).

    Args:
        host: a name or an address, brackets and zone allowed.
    """
    name = host.strip("[]").partition("%")[0].rstrip(".").lower()
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_link_local or address.is_unspecified
