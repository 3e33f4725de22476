"""``mender-devserver cp``: copy a file to or from a device.

A local file gets its final name only when it is complete and synced to disk; so does a file on the device.
"""

from __future__ import annotations

import os
import secrets
import signal
import stat
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from mender_client.core.text import amount
from mender_client.errors import ConfigError, MenderError
from mender_devserver.contact import Contact
from mender_devserver.remote import check_connected
from mender_devserver.remotefiles import RemoteFile, fetch_file, send_file

_SHOW_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Place:
    """A path on a device.

    Args:
        device_id: the device id, which can be shortened.
        path: an absolute path.
    """

    device_id: str
    path: str


def parse_place(text: str) -> Place | None:
    """Parse ``DEVICE:PATH``; None for a local path, which may contain a colon after a slash.

    Raises:
        ConfigError: the path isn't absolute.
    """
    device_id, mark, path = text.partition(":")
    if not mark or not device_id or "/" in device_id:
        return None
    if not path.startswith("/"):
        raise ConfigError([f"cannot read '{text}': write it as DEVICE:/PATH, or ./{text} for a local file"])
    return Place(device_id, path)


def copy(contact: Contact, source: str, target: str) -> tuple[RemoteFile, str]:
    """Copy a file, and return its description and its path.

    Raises:
        ConfigError: not exactly one of source and target is on a device.
        MenderError: the file can't be copied; the target is unchanged.
    """
    on_device, to_device = parse_place(source), parse_place(target)
    signal.signal(signal.SIGTERM, _stop)
    if to_device is not None and on_device is None:
        return _upload(contact, Path(source), to_device), target
    if on_device is not None and to_device is None:
        return _download(contact, on_device, Path(target))
    raise ConfigError(["cannot copy: exactly one of SOURCE and TARGET must be on a device, as DEVICE:/PATH"])


def _stop(number: int, _: object) -> NoReturn:
    raise MenderError(f"stopped by {signal.Signals(number).name}")


def _upload(contact: Contact, source: Path, target: Place) -> RemoteFile:
    check_connected(contact, target.device_id)
    with source.open("rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise MenderError(f"cannot upload {source}: it is not a regular file")
        mode = stat.S_IMODE(status.st_mode) & 0o777
        with Meter(source.name, status.st_size) as meter:
            return send_file(
                contact, target.device_id, file, target.path, name=source.name, mode=mode, progressed=meter.add
            )


def _download(contact: Contact, source: Place, target: Path) -> tuple[RemoteFile, str]:
    check_connected(contact, source.device_id)
    name = source.path.rstrip("/").rpartition("/")[2]
    target = Path(os.path.realpath(target / name if target.is_dir() else target))
    if target.exists() and not target.is_file():
        raise MenderError(f"cannot replace {target}: it is not a regular file")
    part = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}.part")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file, Meter(name) as meter:
            got = fetch_file(contact, source.device_id, source.path, file, meter.add)
            file.flush()
            if got.mode is not None:
                os.fchmod(file.fileno(), got.mode)
            os.fsync(file.fileno())
        part.replace(target)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
    return got, str(target)


class Meter:
    """Shows the progress of a transfer on standard error, if that is a terminal.

    Args:
        name: the name of the file.
        total_bytes: the size of the file; 0 if unknown.
    """

    def __init__(self, name: str, total_bytes: int = 0) -> None:
        self._name = name
        self._total = total_bytes
        self._done = 0
        self._is_shown = sys.stderr.isatty()
        self._began = self._shown_at = time.monotonic()

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def add(self, size: int) -> None:
        """Add to the number of bytes transferred."""
        self._done += size
        now = time.monotonic()
        if self._is_shown and now - self._shown_at >= _SHOW_SECONDS:
            self._shown_at = now
            share = f" of {amount(self._total)}, {100 * self._done // self._total} %" if self._total else ""
            rate = amount(int(self._done / (now - self._began)))
            print(f"\r\x1b[K{self._name}: {amount(self._done)}{share}, {rate}/s", end="", file=sys.stderr, flush=True)
