"""File transfers to and from a device: translates a user's request to messages to the device, in a separate session.

Limits, timeouts and errors are those of the real server, which hides the cause of an error for which the device gives
no status.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import BodyPartReader, web

from mender_client.core.wire.deviceconnect import Message, Protocol, decode_body, number_of, text_of
from mender_client.core.wire.msgpack import pack
from mender_client.errors import ServerError
from mender_devserver.usersession import UserSession

CHUNK_BYTES = 4096
WINDOW_BYTES = 20 * CHUNK_BYTES
"""The number of bytes that may be sent to a device without an acknowledgement."""
ACK_CHUNKS = 10
"""The number of chunks from a device that are acknowledged together."""
SILENCE_SECONDS = 60.0
"""A transfer is aborted when the device sends nothing for this long."""
_SPECIAL_FILE = 1 << 31 | 1 << 27 | 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21
"""Directory, link, device, pipe, socket and character device, as bits of a Go file mode."""
_SETUID, _SETGID, _STICKY = 1 << 23, 1 << 22, 1 << 20
_MOST_FIELD_BYTES = 64 * 1024
_INTERNAL = "internal error"


@dataclass(frozen=True, slots=True)
class Form:
    """The form data of an upload.

    Args:
        path: the path of the file on the device.
        body: the body of the message that announces the file to the device.
        file: the content of the file, not read yet.
    """

    path: str
    body: dict[str, Any]
    file: BodyPartReader = field(repr=False)


async def read_form(raw: web.BaseRequest) -> Form:
    """Read the form up to the file, which must be the last part.

    Raises:
        ServerError: 400.
    """
    fields: dict[str, str] = {}
    try:
        form = await raw.multipart()
        while (part := await form.next()) is not None:
            if not isinstance(part, BodyPartReader):
                continue
            if part.name == "file":
                return Form(fields.get("path", ""), _put_file(fields, (part.filename or "").rpartition("/")[2]), part)
            fields[part.name or ""] = (await part.read_chunk(_MOST_FIELD_BYTES)).decode("utf-8", "replace")
            if not part.at_eof() and await part.read_chunk(1):
                raise ServerError(f"bad request: {part.name}: too long.", status=400)
    except (ValueError, AssertionError) as error:
        raise ServerError(f"bad request: {error}", status=400) from error
    raise ServerError("bad request: file: cannot be blank.", status=400)


def _put_file(fields: dict[str, str], name: str) -> dict[str, Any]:
    body: dict[str, Any] = {"src_path": name} if name else {}
    body["path"] = fields.get("path", "")
    for key, base, function in (("uid", 10, "Atoi"), ("gid", 10, "Atoi"), ("mode", 8, "ParseUint")):
        if text := fields.get(key):
            try:
                body[key] = int(text, base)
            except ValueError as error:
                raise ServerError(f'strconv.{function}: parsing "{text}": invalid syntax', status=400) from error
    return body


class _Transfer:
    """The common part of both directions.

    Args:
        session: a new session.
        user_id: the id of the user.
    """

    def __init__(self, session: UserSession, user_id: str) -> None:
        self._session = session
        self._user_id = user_id

    def _say(self, typ: str, body: bytes | None = None, **props: int) -> None:
        self._session.send(Message(Protocol.FILES, typ, "", {"user_id": self._user_id, **props}, body))

    async def _hear(self) -> tuple[Message, bytes]:
        while True:
            try:
                heard = self._session.take_waiting()
                if heard is None:
                    heard = await asyncio.wait_for(self._session.receive(), SILENCE_SECONDS)
            except asyncio.TimeoutError as error:
                raise ServerError("file transfer timed out", status=408) from error
            if heard[0].proto != Protocol.CONTROL or heard[0].typ != "ping":
                return heard
            self._session.send(Message(Protocol.CONTROL, "pong"))

    async def _open(self, refusal: str) -> None:
        """Open the session.

        Args:
            refusal: the error message for the user if the device doesn't allow transfers.
        """
        self._session.send(Message(Protocol.CONTROL, "open", body=pack({"versions": [1]})))
        message, _ = await self._hear()
        if message.typ != "accept":
            raise ServerError(_INTERNAL, status=500 if message.typ == "error" else 502)
        body = _body(message)
        protocols = body.get("protocols")
        if not isinstance(protocols, list) or Protocol.FILES not in protocols:
            raise ServerError(refusal if body else _INTERNAL, status=502 if body else 500)


class Download(_Transfer):
    """The transfer of a file from a device to a user."""

    async def answer(self, raw: web.BaseRequest, path: str) -> web.StreamResponse:
        """Answer a request for a file, or only for its description.

        Raises:
            ServerError: an error before the first byte of the file; after that, the connection is aborted.
        """
        await self._open(_INTERNAL)
        response = web.StreamResponse(headers=_headers(await self._stat(path)))
        if raw.method == "HEAD":
            await response.prepare(raw)
            return response
        self._say("get_file", pack({"path": path}))
        chunks = self._chunks()
        first = await anext(chunks, b"")
        await response.prepare(raw)
        try:
            await response.write(first)
            async for chunk in chunks:
                await response.write(chunk)
        except ServerError:
            if raw.transport is not None:
                raw.transport.abort()  # it is too late to send an error status
        return response

    async def _stat(self, path: str) -> dict[str, Any]:
        self._say("stat", pack({"path": path}))
        prefix = "failed to retrieve file info: "
        try:
            message, _ = await self._hear()
        except ServerError as error:
            raise ServerError(f"{prefix}{error}", status=error.status) from error
        if message.typ == "error":
            raise _refusal(message, f"{prefix}error received from device: ", default=400)
        if message.typ != "file_info" or isinstance(_body(message).get("modtime"), str):
            raise ServerError(_INTERNAL, status=500)
        info = _body(message)
        mode = number_of(info, "mode")
        if mode is None or mode & _SPECIAL_FILE:
            raise ServerError("path is not a regular file", status=400)
        return info

    async def _chunks(self) -> AsyncIterator[bytes]:
        """The content of the file, in groups of chunks that are acknowledged together."""
        received, waiting = 0, list[bytes]()
        while True:
            message, data = await self._hear()
            if message.typ == "error":
                raise _refusal(message, "", default=500)
            if message.typ != "file_chunk" or _offset(message, data) != received:
                raise ServerError(_INTERNAL, status=500)
            received += len(message.body or b"")
            waiting.append(message.body or b"")
            if message.body is None or len(waiting) == ACK_CHUNKS:
                self._say("ack", offset=received)
                yield b"".join(waiting)
                waiting = []
            if message.body is None:
                return


class Upload(_Transfer):
    """The transfer of a file from a user to a device."""

    async def run(self, form: Form) -> None:
        """Send a file.

        Raises:
            ServerError: the device refuses the file, or the transfer fails.
        """
        try:
            await self._open("file transfer disabled on device")
            self._say("put_file", pack(form.body))
            await self._acknowledged(-1, default=400)
            size, acknowledged = await self._send(form.file)
        except ServerError:
            while await form.file.read_chunk(WINDOW_BYTES):
                pass  # otherwise the user would see a broken connection instead of the error
            raise
        while acknowledged < size:
            acknowledged = await self._acknowledged(acknowledged, default=0)

    async def _send(self, file: BodyPartReader) -> tuple[int, int]:
        sent, acknowledged = 0, 0
        while piece := await file.read_chunk(WINDOW_BYTES):
            for start in range(0, len(piece), CHUNK_BYTES):
                chunk = piece[start : start + CHUNK_BYTES]
                self._say("file_chunk", chunk, offset=sent)
                sent += len(chunk)
                while sent - acknowledged >= WINDOW_BYTES:
                    acknowledged = await self._acknowledged(acknowledged, default=400)
                await asyncio.sleep(0)
        self._say("file_chunk", offset=sent)
        return sent, acknowledged

    async def _acknowledged(self, before: int, *, default: int) -> int:
        """Wait for the next acknowledgement, and return its offset.

        Args:
            before: the offset of the previous acknowledgement.
            default: the status for an error of the device that has none; 0 to ignore errors.
        """
        while True:
            message, data = await self._hear()
            if message.typ == "error" and default:
                raise _refusal(message, "", default=default)
            if message.typ == "ack" and (offset := _offset(message, data)) > before:
                return offset


def _refusal(message: Message, prefix: str, *, default: int) -> ServerError:
    body = _body(message)
    status = number_of(body, "code") or default
    text = prefix + text_of(body, "err")
    return ServerError(text, status=status) if 400 <= status < 500 else ServerError(_INTERNAL, status=500)


def _body(message: Message) -> dict[str, Any]:
    try:
        return decode_body(message)
    except ValueError:
        return {}


def _offset(message: Message, data: bytes) -> int:
    """The offset in a message; as on the real server, an offset that isn't packed as int64 counts as 0."""
    is_wide = b"\xa6offset\xd3" in data[:256]
    return (number_of(message.props, "offset") or 0) if is_wide else 0


def _headers(info: dict[str, Any]) -> dict[str, str]:
    path, mode = _printable(text_of(info, "path")), number_of(info, "mode") or 0
    headers = {
        "Content-Disposition": 'attachment; filename="{}"'.format(path.rpartition("/")[2].replace('"', "")),
        "Content-Type": "application/octet-stream",
        "X-MEN-File-Path": path,
        "X-MEN-File-Mode": f"{mode:o}",
    }
    for name in ("size", "uid", "gid"):
        if (value := number_of(info, name)) is not None:
            headers[f"X-MEN-File-{name if name == 'size' else name.upper()}".replace("size", "Size")] = str(value)
    return headers


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text)
