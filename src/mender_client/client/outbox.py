"""The pending reports: stored before they are sent, sent in order, and removed once the server has them."""

from __future__ import annotations

import logging

from mender_client import TYPE_CHECKING
from mender_client.core.model import Status
from mender_client.core.record import Message, MessageKind
from mender_client.dataclass import dataclass
from mender_client.errors import (
    AbortedError,
    Diagnostic,
    RefusedLogError,
    ServerError,
    UnauthorizedError,
    UnknownDeploymentError,
)

from .deployments import Deployments

if TYPE_CHECKING:
    from mender_client.core.ports import DeploymentLog, Journal

_logger = logging.getLogger(__name__)

UNKNOWN_SECONDS = 60.0
"""How long the server must keep saying that it doesn't know a deployment, or never accepts a log, to be believed."""
LOG_SECONDS = 3600.0
"""How long a log may be refused for other reasons before the outcome is reported without it."""
REFUSED_HOURS = 7 * 24
"""For how many hours of the client's running time a status may be refused before it is dropped."""
_HOUR = 3600.0
_MOST_HOURS = 24
"""How many hours count at most between two refusals: the device may have been offline for the rest."""
TROUBLE = frozenset({408, 425, 429})
"""The HTTP statuses that mean, like every 5xx, that the server can't answer now."""


@dataclass(kw_only=True, eq=False, repr=False)
class Outbox:
    """Sends the pending reports, each at least once."""

    journal: Journal
    deployments: Deployments
    log: DeploymentLog

    def __post_init__(self) -> None:
        self._refused: Message | None = None
        self._refused_since = self._counted_since = 0.0

    def tell(self, deployment_id: str, status: Status) -> None:
        """Store a status and send everything that is pending.

        Raises:
            AbortedError: the server has ended the deployment.
            MenderError: it can't be sent now; the status stays pending.
        """
        self.journal.update(lambda record: record.telling(deployment_id, status))
        self.flush()

    def flush(self) -> None:
        """Send everything, oldest first.

        Raises:
            AbortedError: the server has ended a deployment in progress; its other messages are dropped.
            MenderError: they can't be sent now; the rest stays pending.
        """
        if not self.journal.load().outbox:
            return
        with self.journal.sending():
            while outbox := self.journal.load().outbox:
                self._send_first(outbox[0])

    def _send_first(self, message: Message) -> None:
        try:
            self._send(message)
        except AbortedError as error:
            self._drop(message, error)
        except ServerError as error:
            if isinstance(error, UnauthorizedError) or not self._is_final(message, error):
                raise
            if message.kind is MessageKind.LOG:
                text = f"deployment {message.deployment_id}: the outcome is reported without its log: {error.text}"
                _logger.warning("%s", Diagnostic("REP05", text, remedy=error.remedy))
                self.journal.update(lambda record: record.acknowledged(message))
            else:
                self._drop(message, AbortedError("REP06", error.text, remedy=error.remedy, status=error.status))
        else:
            self._refused = None
            self.journal.update(lambda record: record.acknowledged(message))

    def _send(self, message: Message) -> None:
        deployment_id = message.deployment_id
        if message.kind is MessageKind.LOG:
            self.deployments.send_log(deployment_id, self.log.messages(deployment_id))
        elif message.status is not None:
            self.deployments.send_status(deployment_id, message.status)

    def _drop(self, message: Message, error: AbortedError) -> None:
        """Drop the messages of a deployment that is over on the server."""
        self.journal.update(lambda record: record.silenced(message.deployment_id))
        if message.status is None or not message.status.is_final:
            raise error
        _logger.warning("deployment %s: %s", message.deployment_id, error)

    def _is_final(self, message: Message, error: ServerError) -> bool:
        """Whether a refusal has lasted long enough to be final; one by a server in trouble never is."""
        now = self.deployments.clock.monotonic()
        if message.content != self._refused:
            self._refused, self._refused_since, self._counted_since = message.content, now, now
        seconds = now - self._refused_since
        if isinstance(error, UnknownDeploymentError | RefusedLogError):
            return seconds >= UNKNOWN_SECONDS
        if message.kind is MessageKind.LOG:
            return seconds >= LOG_SECONDS
        if error.status in TROUBLE or error.status >= 500:
            return False
        if (hours := int((now - self._counted_since) // _HOUR)) > 0:
            self._counted_since = now
            self.journal.update(lambda record: record.refused(message, hours=min(hours, _MOST_HOURS)))
        return message.refused_hours >= REFUSED_HOURS
