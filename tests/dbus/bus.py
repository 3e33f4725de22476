"""A message bus with the rules of a system bus, and a program that talks to it."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jeepney import DBusAddress, HeaderFields, MatchRule, Message, MessageType, new_method_call
from jeepney.bus_messages import message_bus
from jeepney.io.blocking import DBusConnection, open_dbus_connection

from waiting import PATIENCE_S, wait_until

NAME = "io.mender.AuthenticationManager"
PATH = "/io/mender/AuthenticationManager"
INTERFACE = "io.mender.Authentication1"
POLICY = Path(__file__).parents[2] / "support/dbus" / f"{NAME}.conf"

_CONFIGURATION = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <auth>EXTERNAL</auth>
  <listen>{address}</listen>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  {policy}
</busconfig>
"""
"""Like Debian's system.conf, but without the services that it starts."""


def connect(address: str) -> DBusConnection:
    """A connection to a bus, which may be busy: by default, jeepney gives up after a second."""
    return open_dbus_connection(address, auth_timeout=PATIENCE_S)


class SystemBus:
    """A private bus at an abstract address, which every user can reach.

    Args:
        directory: for its files.
        policy: the policy file of the client; None for none.
    """

    def __init__(self, directory: Path, policy: Path | None = POLICY) -> None:
        self.address = f"unix:abstract=/mender-test/{uuid.uuid4()}"
        included = "" if policy is None else f"<include>{policy}</include>"
        self._configuration = directory / "bus.conf"
        self._configuration.write_text(_CONFIGURATION.format(address=self.address, policy=included))
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        command = ["dbus-daemon", "--nofork", "--nopidfile", f"--config-file={self._configuration}"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        wait_until(self._answers)

    def _answers(self) -> bool:
        try:
            connect(self.address).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """Kill it: all its connections are lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextmanager
    def caller(self) -> Iterator[Caller]:
        """A program that runs as root and is connected to the bus."""
        with connect(self.address) as connection:
            yield Caller(connection)

    def owner(self) -> str:
        """The owner of the client's name; empty if nobody owns it."""
        with self.caller() as caller:
            reply = caller.ask_bus(message_bus.GetNameOwner(NAME))
            return "" if reply.header.message_type is MessageType.error else str(reply.body[0])

    def wait_for_name(self, after: str = "") -> str:
        """Wait until the client's name has an owner, other than the previous one."""
        wait_until(lambda: self.owner() not in ("", after), what="an owner of the name")
        return self.owner()

    def run(self, *words: str, user: int) -> subprocess.CompletedProcess[str]:
        """Run a program as a given user."""
        return subprocess.run(
            words, user=user, group=user, extra_groups=[], capture_output=True, text=True, check=False
        )


class Caller:
    """A program that uses the client's object.

    Args:
        connection: its connection to the bus.
    """

    def __init__(self, connection: DBusConnection) -> None:
        self.connection = connection

    def call(
        self, method: str, *, interface: str | None = INTERFACE, path: str = PATH, sign: str | None = None, **how: Any
    ) -> Message:
        """Call a method; return the reply or the error."""
        address = DBusAddress(path, NAME, interface)
        message = new_method_call(address, method, sign, how.get("body", ()))
        return self.connection.send_and_get_reply(message, timeout=PATIENCE_S)

    def token(self) -> tuple[str, str]:
        """The reply of GetJwtToken."""
        token, url = self.call("GetJwtToken").body
        return token, url

    def wait_for_token(self, other_than: str = "") -> tuple[str, str]:
        """The token and the address, as soon as there is a token other than the previous one."""
        wait_until(lambda: self.token()[0] not in ("", other_than), what="a token")
        return self.token()

    def ask_bus(self, message: Message) -> Message:
        """Call the bus itself."""
        return self.connection.send_and_get_reply(message, timeout=PATIENCE_S)

    def subscribe(self) -> None:
        """Subscribe to the signals of the client."""
        self.ask_bus(message_bus.AddMatch(MatchRule(type="signal", interface=INTERFACE, path=PATH)))

    def signal(self) -> tuple[str, ...]:
        """The arguments of the next signal."""
        while True:
            message = self.connection.receive(timeout=PATIENCE_S)
            fields = message.header.fields
            if (message.header.message_type, fields.get(HeaderFields.interface)) == (MessageType.signal, INTERFACE):
                assert "JwtTokenStateChange" == fields[HeaderFields.member]
                return tuple(message.body)


def error_name(message: Message) -> str:
    """The name of an error."""
    assert message.header.message_type is MessageType.error, message
    return str(message.header.fields[HeaderFields.error_name]).rpartition(".")[2]


IS_ROOT = os.geteuid() == 0
