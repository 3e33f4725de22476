"""File transfers to and from a device by requests to the server, for the command line, tests and benchmarks."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import quote

from mender_client.errors import NetworkError, ServerError
from mender_devserver.contact import Contact
from mender_devserver.reasons import reason_of

DEVICES = "/api/management/v1/deviceconnect/devices"
PIECE_BYTES = 64 * 1024
TIMEOUT_SECONDS = 120.0
"""Longer than the 60 seconds for which the server waits for a device in each step."""

Progress = Callable[[int], None]
"""Called with the number of bytes of each piece."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that was transferred.

    Args:
        size_bytes: the size of the file.
        sha256: the SHA-256 digest of its content.
        mode: its permissions on the device; None if the device has not sent any.
    """

    size_bytes: int
    sha256: str
    mode: int | None


def fetch_file(
    contact: Contact, device_id: str, path: str, out: BinaryIO, progressed: Progress = lambda _: None
) -> RemoteFile:
    """Download a file from a device.

    Args:
        contact: the server.
        device_id: the device; can be shortened.
        path: the absolute path on the device.
        out: the file to write the content to.
        progressed: called with the number of bytes of each piece.

    Raises:
        NetworkError: there is no reply, or it is incomplete.
        ServerError: the server or the device refuses the request.
        OSError: the content can't be written.
    """
    connection = contact.connect(TIMEOUT_SECONDS)
    digest, size = hashlib.sha256(), 0
    try:
        response = _ask(
            connection, contact, "GET", f"{DEVICES}/{quote(device_id)}/download?path={quote(path, safe='')}", b"", {}
        )
        _check(response, f"cannot download {path}")
        for piece in _pieces(response, path):
            digest.update(piece)
            size += len(piece)
            out.write(piece)
            progressed(len(piece))
    finally:
        connection.close()
    mode = response.headers.get("X-MEN-File-Mode")
    return RemoteFile(size, digest.hexdigest(), int(mode, 8) & 0o777 if mode else None)


def send_file(
    contact: Contact,
    device_id: str,
    file: BinaryIO,
    path: str,
    *,
    name: str = "",
    mode: int | None = None,
    progressed: Progress = lambda _: None,
) -> RemoteFile:
    """Upload a file to a device.

    Args:
        contact: the server.
        device_id: the device; can be shortened.
        file: the content, which is read to its end.
        path: the absolute path of the file, or of its directory, on the device.
        name: the name of the file in the directory.
        mode: the permissions of the file.
        progressed: called with the number of bytes of each piece.

    Raises:
        NetworkError: there is no reply.
        ServerError: the server or the device refuses the file.
        OSError: the file can't be read.
    """
    length = file.seek(0, io.SEEK_END)
    file.seek(0)
    boundary = secrets.token_hex(16)
    fields = {"path": path, **({"mode": f"{mode:o}"} if mode is not None else {})}
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        for field, value in fields.items()
    )
    named = quote(name or os.path.basename(path), safe=" ()+,-./=@[]^_{}~")
    head += (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{named}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    tail = f"\r\n--{boundary}--\r\n".encode()
    digest = hashlib.sha256()

    def content() -> Iterator[bytes]:
        yield head.encode()
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
            yield piece
            progressed(len(piece))
        yield tail

    headers = {
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        "Content-Length": str(len(head.encode()) + length + len(tail)),
    }
    connection = contact.connect(TIMEOUT_SECONDS)
    try:
        response = _ask(connection, contact, "PUT", f"{DEVICES}/{quote(device_id)}/upload", content(), headers)
        _check(response, f"cannot upload {path}")
    finally:
        connection.close()
    return RemoteFile(length, digest.hexdigest(), mode)


def _ask(
    connection: http.client.HTTPConnection,
    contact: Contact,
    method: str,
    path: str,
    content: bytes | Iterator[bytes],
    headers: dict[str, str],
) -> http.client.HTTPResponse:
    try:
        with suppress(BrokenPipeError, ConnectionResetError):  # the server may refuse it before reading all of it
            connection.request(method, path, content, {**headers, "Authorization": f"Bearer {contact.token}"})
        return connection.getresponse()
    except (ConnectionError, TimeoutError, http.client.HTTPException) as error:
        raise NetworkError(
            f"cannot reach the dev server at {contact.url}: {reason_of(error)}; is it running?"
        ) from error


def _check(response: http.client.HTTPResponse, doing: str) -> None:
    if response.status < 400:
        return
    try:
        reason = str(json.loads(response.read())["error"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        reason = f"the server answered {response.status}"
    raise ServerError(f"{doing}: {_REMEDIES.get(reason, reason)}", status=response.status)


_REMEDIES = {
    "device not connected": "the device is not connected; run 'mender-python-client connect' on it",
    "device not found": "there is no such device; see 'mender-devserver devices'",
    "internal error": "the device allows no file transfers, or failed without saying why; see its log",
    "file transfer disabled on device": "the device allows no file transfers: FileTransfer.Disable in "
    "mender-connect.conf",
    "file transfer timed out": "the device has not answered for a minute; see its log",
}


def _pieces(response: http.client.HTTPResponse, path: str) -> Iterator[bytes]:
    try:
        while piece := response.read(PIECE_BYTES):
            yield piece
    except (OSError, http.client.HTTPException) as error:
        raise NetworkError(f"cannot download {path}: the transfer was cut; see the log of the device") from error
