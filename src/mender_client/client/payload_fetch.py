"""Downloads an Artifact and passes its payload to an update module: from disk, or during the download."""

from __future__ import annotations

import logging
from collections.abc import Callable

from mender_client import TYPE_CHECKING
from mender_client.core.model import Link, Software, replaced
from mender_client.core.text import amount
from mender_client.core.update import Update
from mender_client.dataclass import dataclass
from mender_client.errors import AbortedError, ArtifactError, Diagnostic, InstallError, NetworkError, ServerError

from .deployments import Deployments
from .download import Downloader
from .download_policy import NoSpaceError
from .pace import SuspendedError

if TYPE_CHECKING:
    from mender_client.core.artifact import ArtifactReader, Header
    from mender_client.core.ports import ArtifactStore, Modules

    from .scripts import StateScripts

_logger = logging.getLogger(__name__)

MOST_STREAMED = 3
"""How often a streamed Artifact, which starts over in each window, may be downloaded."""


@dataclass(kw_only=True, eq=False, repr=False)
class PayloadFetch:
    """Passes the payload of an update to an update module.

    Attributes:
        is_spooled: whether the Artifact is stored before its payload is installed; None stores it if there is space.
    """

    deployments: Deployments
    downloader: Downloader
    store: ArtifactStore
    modules: Modules
    scripts: StateScripts
    is_spooled: bool | None

    def __post_init__(self) -> None:
        self.software: Software | None = None
        """The software of the device once the last Artifact is installed."""

    def drop_tree(self) -> None:
        """Remove what an interrupted download has left, after the module had the opportunity to clean up."""
        if not self.modules.has_tree():
            return
        try:
            self.modules.run(self.modules.tree_type(), "Cleanup")
        except InstallError as error:
            _logger.warning("%s", error)
        self.modules.remove_tree()

    def fetch(self, update: Update) -> None:
        """Download the Artifact, and pass its payload to the update module, during the download or after it.

        Raises:
            MenderError: it can't be downloaded or installed.
        """

        def renew() -> Link:
            return self.deployments.fresh_link(update)

        def renew_while_streaming() -> Link:
            try:
                return renew()
            except AbortedError:
                raise
            except ServerError as error:  # the update module is waiting
                raise NetworkError(error.diagnostic.code, error.text, remedy=error.remedy) from error

        def install(header: Header, reader: ArtifactReader) -> None:
            self._take(update, header, reader)

        if self.is_spooled is not False:
            copies, assembled = (1, None) if self.is_spooled else (2, install)
            try:
                is_done = self.downloader.fetch(update, renew, accept=self._accept, copies=copies, assembled=assembled)
            except NoSpaceError as error:
                if self.is_spooled:
                    raise
                _logger.info("the Artifact is installed while it is downloaded, without being stored: %s", error.text)
                self.store.discard()
            else:
                if not is_done:
                    self._install_stored(update, renew, install)
                return
        try:
            self.downloader.stream(update, renew_while_streaming, accept=self._accept, consume=install)
        except SuspendedError as error:
            self._begin_anew_later(update)
            raise error from None

    def _begin_anew_later(self, update: Update) -> None:
        """Let a stream whose window has closed start over in the next one, up to a limit.

        Raises:
            InstallError: it has been downloaded so often that the windows must be too short.
        """
        fetched, total = self.downloader.note_cost(update)
        what = f"{amount(fetched)} were downloaded of an Artifact of {amount(total)}, which is not stored"
        remedy = "let the Artifact be stored (SpoolArtifact), or make the windows of DownloadSpeedLimit longer"
        if fetched >= MOST_STREAMED * total:
            raise InstallError("DWN28", f"cannot download in windows that are too short: {what}", remedy=remedy)
        text = f"the window has closed; the download starts over in the next one: {what}"
        _logger.warning("%s", Diagnostic("DWN29", text, remedy))

    def _install_stored(
        self, update: Update, renew: Callable[[], Link], install: Callable[[Header, ArtifactReader], None]
    ) -> None:
        """Pass the stored Artifact to the update module; one that the disk has corrupted is downloaded once more."""
        try:
            self.downloader.reread(update, install)
        except ArtifactError as error:
            _logger.warning("the stored Artifact differs from the verified one, and is downloaded again: %s", error)
            self.store.discard()
            self.downloader.fetch(update, renew, accept=self._accept)
            self.downloader.reread(update, install)

    def _accept(self, header: Header) -> None:
        """Refuse a payload that can't be installed, before it is downloaded."""
        if header.payload.type:
            self.modules.check(header.payload.type)

    def _take(self, update: Update, header: Header, reader: ArtifactReader) -> None:
        self.software = replaced(update.provides, header)
        if not header.payload.type:
            return
        self.scripts.install(header.scripts)
        self.modules.prepare(header, update.provides)
        self.modules.download(header.payload.type, reader.payload_files())
