"""From where an address can be reached."""

from __future__ import annotations

import pytest

from mender_client.core.reach import Reach, reach_of

DEVICE = (
    "127.0.0.1",
    "127.8.9.1",
    "localhost",
    "LOCALHOST.",
    "a.localhost",
    "0.0.0.0",
    "0.1.2.3",
    "[::1]",
    "::",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
)
LINK = ("169.254.169.254", "[fe80::1]", "fe80::1%eth0", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe")
NETWORK = (
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.100.100.200",
    "fd00:ec2::254",
    "fec0::1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
)
EVERYWHERE = (
    "8.8.8.8",
    "172.32.0.1",
    "100.128.0.1",
    "2600::1",
    "64:ff9b::808:808",
    "storage.example",
    "10.example",
    "",
)
HOSTS = {Reach.DEVICE: DEVICE, Reach.LINK: LINK, Reach.NETWORK: NETWORK, Reach.EVERYWHERE: EVERYWHERE}


@pytest.mark.parametrize(("host", "reach"), [(host, reach) for reach, hosts in HOSTS.items() for host in hosts])
def test_reach(host: str, reach: Reach) -> None:
    """An address is reachable from this device, its link, its network or anywhere, regardless of its notation."""
    assert reach is reach_of(host)
