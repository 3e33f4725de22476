"""Addresses of this device and its link, where no redirect from outside may lead."""

from __future__ import annotations

import ipaddress


def is_internal_address(host: str) -> bool:
    """Whether a host, by its name or address (brackets and zone allowed), is this device or on its link.

    A redirect to such a host could reach local services, or the metadata service of a cloud (169.254.169.254).
    """
    name = host.strip("[]").partition("%")[0].rstrip(".").lower()
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback or address.is_link_local or address.is_unspecified
