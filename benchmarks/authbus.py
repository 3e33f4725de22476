"""A message bus that gives mender-connect a token and the address of the server, instead of that of a proxy."""

from __future__ import annotations

import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from jeepney import DBusAddress, HeaderFields, MessageType, new_method_call, new_method_return
from jeepney.bus_messages import message_bus
from jeepney.io.blocking import DBusConnection, open_dbus_connection

NAME = "io.mender.AuthenticationManager"
_OBJECT = DBusAddress("/io/mender/AuthenticationManager", NAME, "io.mender.Authentication1")
_SECONDS = 30.0


@contextmanager
def message_bus_daemon() -> Iterator[str]:
    """Run a bus without access control; yields its address."""
    address = f"unix:abstract=/mender-bench/{uuid.uuid4()}"
    command = ["dbus-daemon", "--session", "--nofork", "--nopidfile", f"--address={address}"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as daemon:
        try:
            _connect(address).close()
            yield address
        finally:
            daemon.terminate()


def _connect(address: str) -> DBusConnection:
    end = time.monotonic() + _SECONDS
    while True:
        try:
            return open_dbus_connection(address)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def ask_for_token(address: str) -> str:
    """Return the token that the client offers on a bus."""
    end = time.monotonic() + _SECONDS
    with _connect(address) as connection:
        while time.monotonic() < end:
            reply = connection.send_and_get_reply(new_method_call(_OBJECT, "GetJwtToken"), timeout=_SECONDS)
            if reply.header.message_type is MessageType.method_return and reply.body[0]:
                return str(reply.body[0])
            time.sleep(0.1)
    raise SystemExit("cannot measure: the client offers no token")


def offer(address: str, token: str, server_url: str) -> None:
    """Answer every call on a bus with this token and this address, in a thread of this process."""
    connection = _connect(address)
    connection.send_and_get_reply(message_bus.RequestName(NAME), timeout=_SECONDS)

    def serve() -> None:
        while True:
            try:
                message = connection.receive()
            except (OSError, EOFError):
                return
            if message.header.message_type is MessageType.method_call and HeaderFields.sender in message.header.fields:
                connection.send(new_method_return(message, "ss", (token, server_url)))

    threading.Thread(target=serve, daemon=True).start()
