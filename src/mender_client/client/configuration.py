"""Reports the configuration that the update module ``mender-configure`` has stored."""

from __future__ import annotations

import logging
from collections.abc import Callable

from mender_client import TYPE_CHECKING
from mender_client.core.wire.configuration import (
    build_configuration_report,
    parse_configuration,
    parse_configuration_reply,
)
from mender_client.dataclass import dataclass
from mender_client.errors import Diagnostic, ServerError, StorageError

from .auth import Session

if TYPE_CHECKING:
    from mender_client.core.ports import Clock

_logger = logging.getLogger(__name__)
_NOT_FOUND = 404


@dataclass(kw_only=True, eq=False, repr=False)
class ConfigurationReporter:
    """Sends the configuration when it has changed, and again with each new token, like the inventory.

    Attributes:
        read: reads the stored configuration; raises StorageError.
    """

    session: Session
    clock: Clock
    read: Callable[[], str]

    def __post_init__(self) -> None:
        self._accepted: tuple[int, str] | None = None
        self._problem = ""

    def send(self) -> bool:
        """Report the configuration.

        Returns:
            Whether it was sent. A configuration that can't be sent is logged once.

        Raises:
            MenderError: it could not be sent; try again later.
        """
        try:
            text = self.read()
        except StorageError as error:
            self._warn(error.text)
            return False
        if self._accepted == (self.session.tokens_received, text):
            return False
        try:
            configuration = parse_configuration(text)
            reply = self.session.call(lambda token: build_configuration_report(token, configuration))
        except ValueError as error:
            self._warn(str(error))
            return False
        try:
            parse_configuration_reply(reply, now=self.clock.now())
        except ServerError as error:
            if error.status != _NOT_FOUND:
                raise
            self._warn("the server has answered 404: it may have no configuration service")
            return False
        self._accepted, self._problem = (self.session.tokens_received, text), ""
        _logger.info("configuration reported: %d keys", len(configuration))
        return True

    def _warn(self, reason: str) -> None:
        if reason != self._problem:
            text = f"cannot report the configuration of this device: {reason}"
            _logger.warning("%s", Diagnostic("INV03", text, remedy="deploy a configuration to this device again"))
        self._problem = reason
