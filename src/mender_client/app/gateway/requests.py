"""Requests of commands for one device of a running gateway: each is a file, followed by a signal.

A signal without a file applies to all devices.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from mender_client.app.paths import Paths
from mender_client.system.files import make_directory, write_atomic

DIRECTORY = "requests"
"""The directory of the files, in the gateway's data directory."""

_KINDS = {signal.SIGUSR1: "poll", signal.SIGUSR2: "inventory"}


def leave_request(paths: Paths, number: int) -> None:
    """Record for which device the following signal is meant.

    Args:
        paths: the device's files.
        number: the signal, SIGUSR1 or SIGUSR2.

    Raises:
        StorageError: the file can't be written.
    """
    directory = paths.data.parent.parent / DIRECTORY
    make_directory(directory)
    write_atomic(directory / f"{paths.data.name}.{_KINDS[signal.Signals(number)]}", b"", is_durable=False)


def take_requests(data: Path) -> tuple[frozenset[str], frozenset[str]]:
    """Read and remove all requests: the names of devices that should poll, and that should send their inventory.

    Args:
        data: the gateway's data directory.
    """
    found: dict[str, set[str]] = {kind: set() for kind in _KINDS.values()}
    with suppress(OSError):  # there has been no request yet
        for file in os.listdir(data / DIRECTORY):
            name, _, kind = file.rpartition(".")
            if kind in found:
                with suppress(OSError):
                    os.unlink(data / DIRECTORY / file)
                    found[kind].add(name)
    return frozenset(found["poll"]), frozenset(found["inventory"])
