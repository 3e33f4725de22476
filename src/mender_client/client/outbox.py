"""The pending reports: on disk before they are sent, kept in order, and removed when the server has them."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from mender_client.core.model import Status
from mender_client.core.ports import DeploymentLog, Journal
from mender_client.core.record import Message, MessageKind
from mender_client.errors import AbortedError, Diagnostic, ServerError, UnauthorizedError

from .deployments import Deployments

_logger = logging.getLogger(__name__)

LOG_TRIES = 5
"""How often the server may refuse a log with an error before the outcome is reported without it."""


@dataclass(kw_only=True, eq=False, repr=False)
class Outbox:
    """Sends the pending reports, each at least once."""

    journal: Journal
    deployments: Deployments
    log: DeploymentLog

    def __post_init__(self) -> None:
        self._log_refusals = 0

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
            AbortedError: the server has ended a deployment under way; its other messages are dropped.
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
            self.journal.update(lambda record: record.silenced(message.deployment_id))
            if message.status is None or not message.status.is_final:
                raise
            _logger.warning("deployment %s: %s", message.deployment_id, error)
        else:
            self.journal.update(lambda record: record.acknowledged(message))

    def _send(self, message: Message) -> None:
        if message.kind is MessageKind.LOG:
            self._send_log(message.deployment_id)
        elif message.status is not None:
            self.deployments.send_status(message.deployment_id, message.status)

    def _send_log(self, deployment_id: str) -> None:
        """Send the log; if the server keeps refusing it, the outcome is reported without it."""
        try:
            self.deployments.send_log(deployment_id, self.log.messages(deployment_id))
        except ServerError as error:
            self._log_refusals += 1
            if isinstance(error, UnauthorizedError) or self._log_refusals < LOG_TRIES:
                raise
            text = f"deployment {deployment_id}: the outcome is reported without its log: {error.text}"
            _logger.warning("%s", Diagnostic("REP05", text, remedy=error.remedy))
        self._log_refusals = 0
