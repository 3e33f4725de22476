"""The deployments API: asks for the next deployment, reports its status, sends its log."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from mender_client import TYPE_CHECKING
from mender_client.core.model import Deployment, Link, LogMessage, NextForm, Provides, Status
from mender_client.core.update import Update
from mender_client.core.wire.deployments import (
    build_log_request,
    build_next_request,
    build_status_request,
    fit_log,
    parse_log_reply,
    parse_next_reply,
    parse_status_reply,
)
from mender_client.core.wire.messages import Reply
from mender_client.dataclass import dataclass
from mender_client.errors import AbortedError, ServerError

from .auth import Session

if TYPE_CHECKING:
    from mender_client.core.ports import Clock

_logger = logging.getLogger(__name__)

_CONFLICT = 409


@dataclass(frozen=True)
class Offer:
    """A deployment, and the data with which the device asked for it; the same data are sent until its end."""

    deployment: Deployment
    provides: Provides
    form: NextForm


@dataclass(kw_only=True, eq=False, repr=False)
class Deployments:
    """The deployments service, as a device uses it."""

    session: Session
    clock: Clock

    def __post_init__(self) -> None:
        self._form_that_worked: dict[str, NextForm] = {}

    def next(self, provides: Provides, form: NextForm | None = None) -> Offer | None:
        """Ask for a deployment; return None if there is none.

        The newest form of the request is tried first; the one that a server answered is remembered, except for a
        deployment in progress, since the server may have learned a newer form meanwhile.

        Args:
            provides: the device data.
            form: the form of the request to which the deployment in progress was offered; it is tried first.

        Raises:
            MenderError: the server can't be reached or answers with an error.
        """
        server_url = self.session.authorise().server_url
        is_under_way = form is not None
        known = self._form_that_worked.get(server_url, NextForm.V2_POST)
        form = form or known
        reply = self._ask(form, provides)
        while reply.status in (404, 405) and form.fallback is not None:
            if is_under_way and form.fallback is NextForm.V1_GET and provides.others:
                break  # this form carries less data: the server would answer 409 and fail the deployment
            form = form.fallback
            reply = self._ask(form, provides)
        deployment = parse_next_reply(reply, now=self.clock.now())
        if form is not known and not is_under_way:
            self._form_that_worked[server_url] = form
        return None if deployment is None else Offer(deployment, provides, form)

    def fresh_link(self, update: Update) -> Link:
        """A new link to the Artifact of the update in progress.

        The request carries the same data until the end of the deployment, even if the device's data have changed.

        Raises:
            AbortedError: the server no longer offers it.
            MenderError: as ``next``.
        """
        try:
            again = self.next(update.provides, update.form)
        except ServerError as error:
            if error.status != _CONFLICT:
                raise
            raise AbortedError("DEP03", error.text, status=error.status) from error
        if again is None or again.deployment.id != update.deployment_id:
            text = f"cannot continue deployment {update.deployment_id}: the server no longer offers it"
            raise AbortedError("DEP01", text, status=204)
        return again.deployment.link

    def _ask(self, form: NextForm, provides: Provides) -> Reply:
        return self.session.call(lambda token: build_next_request(token, form, provides))

    def send_status(self, deployment_id: str, status: Status) -> None:
        """Report the status of a deployment.

        Raises:
            AbortedError: the server has ended the deployment.
            UnknownDeploymentError: the server does not know the deployment, or currently has no route to the service.
            MenderError: it can't be sent now.
        """
        reply = self.session.call(lambda token: build_status_request(token, deployment_id, status))
        parse_status_reply(reply, status, now=self.clock.now())
        _logger.info("deployment %s: reported status %s", deployment_id, status.value)

    def send_log(self, deployment_id: str, messages: Iterable[LogMessage]) -> None:
        """Send the end of a deployment's log, as much of it as the server accepts.

        Raises:
            RefusedLogError: the server will never accept this log.
            MenderError: it can't be sent now.
        """
        fitting = fit_log(messages)
        if fitting:
            reply = self.session.call(lambda token: build_log_request(token, deployment_id, fitting))
            parse_log_reply(reply, now=self.clock.now())
