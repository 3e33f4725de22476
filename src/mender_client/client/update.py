"""One deployment from the offer to the hand-over, and the honest report when it ends earlier."""

from __future__ import annotations

import logging

from mender_client.core.model import Deployment, Link, Provides, Status
from mender_client.core.ports import ArtifactStore, DeploymentLog, Installer
from mender_client.errors import AbortedError, ArtifactError, DownloadError, InstallError, MenderError, StorageError

from .deployments import Deployments
from .download import Downloader

_logger = logging.getLogger(__name__)

_FAILS_THE_DEPLOYMENT = (ArtifactError, DownloadError, InstallError, StorageError)
"""Errors that end a deployment; every other one is waited out, and the server offers the deployment again."""


class Updater:
    """Carries deployments out.

    Args:
        deployments: talks to the server about them.
        downloader: brings Artifacts onto the device.
        store: holds the Artifact.
        installer: takes it over.
        log: records what happens, for the server.
    """

    def __init__(
        self,
        *,
        deployments: Deployments,
        downloader: Downloader,
        store: ArtifactStore,
        installer: Installer,
        log: DeploymentLog,
    ) -> None:
        self._deployments = deployments
        self._downloader = downloader
        self._store = store
        self._installer = installer
        self._log = log

    def carry_out(self, deployment: Deployment, provides: Provides) -> None:
        """Download, prove and hand over; afterwards ``Installer.current_deployment`` tells whether it is under way.

        Raises:
            MenderError: the server can't be reached now; it will offer the deployment again.
        """
        try:
            self._log.begin(deployment.id)
            _logger.info("deployment %s: update to %s", deployment.id, deployment.artifact_name)
            self._bring_and_hand_over(deployment, provides)
        except AbortedError as error:
            _logger.warning("deployment %s: %s", deployment.id, error)
            self._store.discard()
        except _FAILS_THE_DEPLOYMENT as error:
            self._fail(deployment.id, error)
        finally:
            self._log.end()

    def _bring_and_hand_over(self, deployment: Deployment, provides: Provides) -> None:
        self._deployments.send_status(deployment.id, Status.DOWNLOADING)
        self._installer.check()  # before the gigabyte, not after it
        artifact = self._downloader.fetch(deployment, provides, lambda: self._fresh_link(deployment, provides))
        self._deployments.send_status(deployment.id, Status.INSTALLING)  # also asks: is it still wanted?
        self._installer.install(deployment, artifact)
        _logger.info("deployment %s: %s is handed over to the sub-updater", deployment.id, artifact)

    def _fresh_link(self, deployment: Deployment, provides: Provides) -> Link:
        again = self._deployments.next(provides)
        if again is None or again.id != deployment.id:
            raise AbortedError("cannot go on with the deployment: the server no longer offers it", status=204)
        return again.link

    def _fail(self, deployment_id: str, error: MenderError) -> None:
        _logger.error("deployment %s failed: %s", deployment_id, error)
        try:
            self._store.discard()
        except StorageError as second:
            _logger.error("%s", second)
        try:
            self._deployments.report_outcome(deployment_id, Status.FAILURE, self._log.messages())
        except AbortedError as aborted:
            _logger.warning("deployment %s: %s", deployment_id, aborted)
