"""Ports of 127.0.0.1 that no other process gets while a test relies on them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mender_devserver import DevServer


@contextmanager
def kept_port() -> Iterator[int]:
    """A port at which nothing listens until the test does; no other process gets it, nor uses it as its own end."""
    with socket.socket() as keeper:
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # others that set it may listen at the port
        keeper.bind(("127.0.0.1", 0))
        yield int(keeper.getsockname()[1])


@contextmanager
def restartable(directory: Path, **settings: Any) -> Iterator[DevServer]:
    """A running development server whose ports are kept for it while it is stopped."""
    with (
        kept_port() as port,
        kept_port() as storage_port,
        DevServer(directory, port=port, storage_port=storage_port, **settings) as server,
    ):
        yield server
