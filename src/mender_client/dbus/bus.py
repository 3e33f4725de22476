"""The connection to a message bus, and the name that this program owns there."""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Callable

from jeepney import DBusAddress, HeaderFields, Message, MessageType, Parser, new_method_call
from jeepney.auth import BEGIN, Authenticator
from jeepney.bus import get_bus

from mender_client.connect.loop import READ, WRITE, Loop
from mender_client.core.text import printable
from mender_client.errors import DeviceError, MenderError

_BUS = DBusAddress("/org/freedesktop/DBus", "org.freedesktop.DBus", "org.freedesktop.DBus")
_SECONDS = 5.0
_READ_BYTES = 65536
_DO_NOT_QUEUE = 4
_IS_OWNER = 1
_BROKEN = (ValueError, LookupError, struct.error)
"""The exceptions that jeepney raises for an invalid message."""


class RefusedByBusError(MenderError):
    """The bus can't be used, or refuses this program its name; trying again doesn't help."""


class Bus:
    """A connection to a message bus, with a name.

    Args:
        loop: the event loop.
        address: the address of the bus, in D-Bus syntax.
        name: the name to own there.

    Raises:
        DeviceError: the bus can't be reached now.
        RefusedByBusError: the address isn't supported, or the bus refuses the name.
    """

    def __init__(self, loop: Loop, address: str, name: str) -> None:
        self._loop = loop
        self._parser = Parser()
        self._serials = itertools.count(1)
        self._out = bytearray()
        self._early: list[Message] = []
        self._received: Callable[[Message], None] = lambda _: None
        self._closed: Callable[[], None] = lambda: None
        self._sock = _dial(address)
        try:
            self._sock.settimeout(_SECONDS)
            self._authenticate()
            self._call("Hello")
            self._own(name)
        except (OSError, *_BROKEN) as error:
            self._sock.close()
            raise _unreachable(address, str(error)) from error
        except BaseException:
            self._sock.close()
            raise

    def listen(self, received: Callable[[Message], None], closed: Callable[[], None]) -> None:
        """Receive messages from now on.

        Args:
            received: called with each message.
            closed: called when the connection is lost.
        """
        self._received, self._closed = received, closed
        self._sock.setblocking(False)
        self._loop.watch(self._sock, READ, self._ready)
        for message in self._early:
            received(message)

    def send(self, message: Message) -> None:
        """Send a message."""
        self._out += message.serialise(next(self._serials))
        self._flush()

    def close(self) -> None:
        """Disconnect from the bus; what hasn't been sent yet is lost."""
        self._loop.watch(self._sock, 0, self._ready)
        self._sock.close()

    # -- the beginning ----------------------------------------------------------------------------------------------

    def _authenticate(self) -> None:
        authenticator = Authenticator()
        for data in authenticator:
            self._sock.sendall(data)
            authenticator.feed(self._take())
        self._sock.sendall(BEGIN)

    def _own(self, name: str) -> None:
        reply = self._call("RequestName", "su", (name, _DO_NOT_QUEUE))
        if reply.header.message_type is MessageType.error:
            text = f"cannot own the name {name} on the bus: {printable(str(reply.body[0] if reply.body else ''))}"
            remedy = f"run as root, and install the policy {name}.conf in /usr/share/dbus-1/system.d"
            raise RefusedByBusError("BUS03", text, remedy=remedy)
        if reply.body[0] != _IS_OWNER:
            text = f"cannot own the name {name} on the bus: another program owns it"
            raise RefusedByBusError(
                "BUS04", text, remedy="stop the other client, or the instance of this program that is already running"
            )

    def _call(self, method: str, signature: str | None = None, body: tuple[object, ...] = ()) -> Message:
        """Call a method of the bus and wait for the reply; keep other messages that arrive in the meantime."""
        serial = next(self._serials)
        self._sock.sendall(new_method_call(_BUS, method, signature, body).serialise(serial))
        while True:
            for message in self._parser.feed(self._take()):
                if message.header.fields.get(HeaderFields.reply_serial) == serial:
                    return message
                self._early.append(message)

    def _take(self) -> bytes:
        data = self._sock.recv(_READ_BYTES)
        if not data:
            raise ConnectionError("the bus has closed the connection")
        return data

    # -- messages ---------------------------------------------------------------------------------------------------

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        if events & READ:
            try:
                messages = self._parser.feed(self._take())
            except BlockingIOError:
                return
            except (OSError, *_BROKEN):
                self.close()
                self._closed()
                return
            for message in messages:
                self._received(message)

    def _flush(self) -> None:
        try:
            while self._out:
                del self._out[: self._sock.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:
            self._out.clear()  # the next read finds that the connection is lost
        if self._sock.fileno() >= 0:
            self._loop.watch(self._sock, READ | (WRITE if self._out else 0), self._ready)


def _dial(address: str) -> socket.socket:
    try:
        path = get_bus(address)
    except (ValueError, RuntimeError, StopIteration) as error:
        text = f"cannot use the bus at {printable(address)}: only unix: addresses are supported"
        raise RefusedByBusError("BUS02", text, remedy="correct DBUS_SYSTEM_BUS_ADDRESS") from error
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(_SECONDS)
        sock.connect(path)
    except OSError as error:
        sock.close()
        raise _unreachable(address, error.strerror or str(error)) from error
    return sock


def _unreachable(address: str, reason: str) -> DeviceError:
    text = f"cannot reach the bus at {printable(address)}: {printable(reason)}"
    return DeviceError("BUS01", text, remedy="start dbus-daemon or dbus-broker")
