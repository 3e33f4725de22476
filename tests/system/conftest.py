"""Transports that are closed after the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from mender_client.core.proxies import Proxies
from mender_client.system.clockevidence import ClockCheck
from mender_client.system.connection import Timeouts
from mender_client.system.dial import Resolve, resolve_by_system
from mender_client.system.http import HttpTransport
from mender_client.system.tls import TlsSettings
from waiting import PATIENCE_S

MakeTransport = Callable[..., HttpTransport]


@pytest.fixture
def make_transport() -> Iterator[MakeTransport]:
    """Makes transports with long time limits, which a test may shorten."""
    made: list[HttpTransport] = []

    def make(
        tls: TlsSettings | None = None,
        *,
        connect: float = PATIENCE_S,
        idle: float = PATIENCE_S,
        total: float = PATIENCE_S,
        clock_check: ClockCheck | None = None,
        proxies: Proxies | None = None,
        resolve: Resolve = resolve_by_system,
    ) -> HttpTransport:
        timeouts = Timeouts(connect=connect, idle=idle, total=total)
        transport = HttpTransport(
            tls=tls or TlsSettings(),
            user_agent="a-test/1",
            timeouts=timeouts,
            clock_check=clock_check or ClockCheck(),
            proxies=proxies,
            resolve=resolve,
        )
        made.append(transport)
        return transport

    yield make
    for transport in made:
        transport.rest()
