"""Reports the client status to the service manager with systemd's notification protocol (sd_notify).

The watchdog is triggered only where work makes progress, not by a timer, so that a hanging client is detected.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from mender_client.core.client_status import ClientStatus, headline

_LONGEST_STATUS = 500


class Notifier:
    """Sends to the service manager's socket; see ``core.ports.Observer``.

    Messages that can't be sent are dropped: an unresponsive manager must not affect the client.

    Args:
        address: NOTIFY_SOCKET; a leading ``@`` means an abstract socket name.
        watchdog_seconds: the interval within which the manager expects a sign of life; 0 for no watchdog.
        monotonic: the clock.
    """

    def __init__(
        self, address: str, *, watchdog_seconds: float = 0.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self.beat_seconds = watchdog_seconds / 2
        self._monotonic = monotonic
        self._beat_at = -watchdog_seconds
        self._status = ""
        self.has_said_stopping = False

    def ready(self) -> None:
        """Report that the client is running, after its start or after it has reloaded its configuration."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Report that the client is reloading its configuration; ``ready`` follows."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Report that the client is exiting; this can't be revoked, and the manager waits for the exit."""
        self.has_said_stopping = True
        self._send("STOPPING=1")

    def noticed(self, client_status: ClientStatus) -> None:
        self.state(headline(client_status))

    def state(self, text: str) -> None:
        """Report the state in one line, unless it is unchanged."""
        line = text.replace("\n", " ")[:_LONGEST_STATUS]
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def alive(self) -> None:
        """Trigger the watchdog, if there is one, no more often than necessary."""
        if not self.beat_seconds:
            return
        now = self._monotonic()
        if now - self._beat_at >= self.beat_seconds / 2:
            self._beat_at = now
            self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        try:
            self._socket.sendto(text.encode("utf-8", "replace"), self._address)
        except OSError:
            return

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
