"""File transfer: one file at a time per session, in chunks, with no more unacknowledged ones than the server buffers.

The server reports an upload as complete as soon as it sees an acknowledgement of the whole size, and handles errors
only before that. So all possible checks are made before the first acknowledgement, and the last one is sent when the
file has its final name.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable

from mender_client import TYPE_CHECKING
from mender_client.core.text import printable
from mender_client.core.wire.deviceconnect import Message, Protocol, decode_body, number_of, text_of
from mender_client.core.wire.msgpack import pack

from .meter import Meter
from .ports import Files, PutRequest, RefusedError, Send, Source, Target, Timers

if TYPE_CHECKING:
    from typing import Any

_logger = logging.getLogger(__name__)

CHUNK_BYTES = 16384
WINDOW_CHUNKS = 20
"""The server buffers 25 messages per session, and acknowledges every tenth chunk."""
ACK_CHUNKS = 10
ACK_BYTES = 40960
"""The server pauses when 81920 bytes are unacknowledged; another sender may wait after each chunk."""
_BUSY = "another file transfer is in progress"
_RATE = "transmitted bytes limit exhausted"


class FileSession:
    """The transfers of one session.

    Args:
        sid: its id.
        send: sends a message.
        timers: the clock and timers.
        files: the files of this device.
        sent, received: limit the rates.
        is_congested: whether chunks must wait for a slow connection.
    """

    def __init__(
        self,
        sid: str,
        send: Send,
        timers: Timers,
        files: Files,
        sent: Meter,
        received: Meter,
        is_congested: Callable[[], bool] = lambda: False,
    ) -> None:
        self._sid = sid
        self._send = send
        self.timers = timers
        self._files = files
        self._meters = (sent, received)
        self._is_congested = is_congested
        self._transfer: _Download | _Upload | None = None

    def receive(self, message: Message) -> None:
        try:
            if message.typ == "stat":
                self._stat(message)
            elif message.typ in ("get_file", "put_file"):
                self._begin(message)
            elif message.typ in ("ack", "file_chunk"):
                if self._transfer is not None:
                    self._transfer.receive(message)
            elif message.typ == "error":
                _logger.info("file transfer ended by its user")
                self.close()
            else:
                raise RefusedError(f"session: filetransfer message type '{message.typ}' not supported")
        except RefusedError as error:
            self.refuse(message, error)

    def resume(self) -> None:
        if isinstance(self._transfer, _Download):
            self._transfer.pump()

    def close(self) -> None:
        if self._transfer is not None:
            self._transfer.close()
            self._transfer = None

    def over(self, transfer: _Download | _Upload) -> None:
        """A transfer has ended, successfully or not."""
        if self._transfer is transfer:
            self._transfer = None

    def refuse(self, message: Message, error: RefusedError) -> None:
        """Answer a request with an error."""
        _logger.warning("file transfer refused: %s: user %s", printable(error.text), _user(message))
        body = {"err": error.text, "msgtype": message.typ}
        if error.code:
            body["code"] = error.code  # type: ignore[assignment]  # a number among strings
        self.send("error", message.props, pack(body))

    def send(self, typ: str, props: Any = None, body: bytes | None = None) -> None:
        """Send a message of this session."""
        self._send(Message(Protocol.FILES, typ, self._sid, props or {}, body))

    def _stat(self, message: Message) -> None:
        path = text_of(_parameters(message), "path")
        info = self._files.stat(_checked(path))
        self.send("file_info", body=pack(info))

    def _begin(self, message: Message) -> None:
        if self._transfer is not None:
            raise RefusedError(_BUSY, 409)
        found = _parameters(message)
        path = _checked(text_of(found, "path"))
        if message.typ == "get_file":
            sent = self._meters[0]
            _check_rate(sent)
            self._transfer = _Download(self, message, path, self._files.open(path), sent, self._is_congested)
            self._transfer.pump()
            return
        _check_rate(self._meters[1])
        request = PutRequest(
            path,
            text_of(found, "src_path"),
            number_of(found, "uid"),
            number_of(found, "gid"),
            number_of(found, "mode"),
        )
        self._transfer = _Upload(self, message, self._files.create(request), self._meters[1])
        self.send("ack", {"offset": 0})


def _parameters(message: Message) -> dict[str, Any]:
    try:
        return decode_body(message)
    except ValueError as error:
        raise RefusedError(f"malformed request parameters: {error}", 400) from error


def _checked(path: str) -> str:
    if not path:
        raise RefusedError("invalid request parameters: path: cannot be blank.", 400)
    if not path.startswith("/") or "\0" in path or len(path) > 4096:
        raise RefusedError("invalid request parameters: path: must be absolute.", 400)
    return path


def _check_rate(meter: Meter) -> None:
    if meter.is_exhausted():
        raise RefusedError(_RATE, 429)


def _user(message: Message) -> str:
    return printable(text_of(message.props, "user_id")) or "(unknown)"


def _offset(message: Message) -> int:
    """The offset of a message; any integer type is accepted, although other clients require int64."""
    if "offset" not in message.props:
        what = "file chunk" if message.typ == "file_chunk" else "ack"
        raise RefusedError(f"invalid {what} message: missing offset property")
    offset = number_of(message.props, "offset")
    if offset is None:
        raise RefusedError("invalid offset data type: require int64")
    return offset


class _Download:
    """A file that is being sent to the user."""

    def __init__(
        self,
        session: FileSession,
        request: Message,
        path: str,
        source: Source,
        meter: Meter,
        is_congested: Callable[[], bool],
    ) -> None:
        self._session = session
        self._request = request
        self._path = path
        self._source: Source | None = source
        self._meter = meter
        self._is_congested = is_congested
        self._digest = hashlib.sha256()
        self._sent = 0
        self._starts: list[int] = []  # of the unacknowledged chunks

    def receive(self, message: Message) -> None:
        if message.typ != "ack":
            return
        acknowledged = _offset(message)
        self._starts = [start for start in self._starts if start >= acknowledged]
        if self._source is None and acknowledged >= self._sent:
            self._session.over(self)
        self.pump()

    def pump(self) -> None:
        """Send as many chunks as the window allows."""
        try:
            while self._source is not None and len(self._starts) < WINDOW_CHUNKS and not self._is_congested():
                self._send_chunk(self._source)
        except RefusedError as error:
            self.close()
            self._session.over(self)
            self._session.refuse(self._request, error)

    def _send_chunk(self, source: Source) -> None:
        data = source.read(CHUNK_BYTES)
        self._session.send("file_chunk", {"offset": self._sent}, data or None)
        if not data:
            self.close()
            _logger.info(
                "file %s sent to user %s: %d bytes, SHA-256 %s",
                printable(self._path), _user(self._request), self._sent, self._digest.hexdigest(),
            )  # fmt: skip
            return
        self._digest.update(data)
        self._meter.count(len(data))
        self._starts.append(self._sent)
        self._sent += len(data)

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
            self._source = None


class _Upload:
    """A file that is being received from the user."""

    def __init__(self, session: FileSession, request: Message, target: Target, meter: Meter) -> None:
        self._session = session
        self._request = request
        self._target = target
        self._meter = meter
        self._digest = hashlib.sha256()
        self._size = 0
        self._unacknowledged = (0, 0)  # chunks and bytes
        self._last = request
        self._is_over = False

    def receive(self, message: Message) -> None:
        if message.typ != "file_chunk" or self._is_over:
            return  # chunks that were still in transit when something failed
        try:
            self._take(message)
        except RefusedError as error:
            self._fail(error)

    def close(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._target.abort()
            _logger.info("file %s not received: ended by its user", printable(self._target.path))

    def _take(self, message: Message) -> None:
        offset = _offset(message)
        if offset != self._size:
            raise RefusedError("received unexpected chunk offset", 400)
        if not message.body:
            self._is_over = True
            self._target.finish(lambda error: self._finished(message, error))
            return
        self._target.write(message.body)
        self._digest.update(message.body)
        self._meter.count(len(message.body))
        self._size += len(message.body)
        self._last = message
        chunks, size = self._unacknowledged
        self._unacknowledged = (chunks + 1, size + len(message.body))
        if chunks + 1 >= ACK_CHUNKS or self._unacknowledged[1] >= ACK_BYTES:
            self._acknowledge()
        elif not chunks:
            self._session.timers.call_later(0.0, self._acknowledge)  # after all received chunks have been handled

    def _acknowledge(self) -> None:
        if self._unacknowledged[0] and not self._is_over:
            self._unacknowledged = (0, 0)
            self._session.send("ack", self._last.props)

    def _finished(self, message: Message, error: RefusedError | None) -> None:
        self._session.over(self)
        if error is not None:
            self._session.refuse(self._request, error)
            return
        self._session.send("ack", message.props)
        _logger.info(
            "file %s received from user %s: %d bytes, SHA-256 %s",
            printable(self._target.path), _user(self._request), self._size, self._digest.hexdigest(),
        )  # fmt: skip

    def _fail(self, error: RefusedError) -> None:
        self._is_over = True
        self._target.abort()
        self._session.over(self)
        self._session.refuse(self._request, error)
