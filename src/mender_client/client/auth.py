"""Authorisation: fetches a token if there is none, and a new one if the server rejects it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from mender_client import TYPE_CHECKING
from mender_client.core.client_status import Authorisation
from mender_client.core.model import Identity, Token
from mender_client.core.wire.authentication import build_auth_body, build_auth_request, parse_auth_reply
from mender_client.core.wire.messages import Reply, Request
from mender_client.dataclass import dataclass
from mender_client.errors import Diagnostic, NetworkError, NotAcceptedError, ServerError, UnauthorizedError

from .identity_guard import IdentityGuard
from .status_tracker import StatusTracker

if TYPE_CHECKING:
    from mender_client.core.ports import Clock, DeviceData, KeyStore, Transport

_logger = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False, repr=False)
class Session:
    """The device's authorisation by the server.

    Attributes:
        server_urls: the servers, tried in this order. The client uses the first one that issues a token. If the token
            is refused, it starts again with the first server; if the server fails or answers 5xx, it tries it last.
        tenant_token: the organisation's token, empty for none.
    """

    transport: Transport
    clock: Clock
    device: DeviceData
    keys: KeyStore
    guard: IdentityGuard
    server_urls: Sequence[str]
    tenant_token: str = ""
    tracker: StatusTracker

    def __post_init__(self) -> None:
        self._token: Token | None = None
        self._failed_url = ""
        self._is_waiting_announced = False
        self.tokens_received = 0

    def authorise(self) -> Token:
        """Return the token; request one if there is none.

        Raises:
            UnauthorizedError: the server has not accepted this device (yet); try again later.
            NetworkError: no server answered.
            ServerError: a server answered with an error.
            ScriptError: the identity can't be determined.
            NotReadyError: the identity has no real value yet.
            KeyFileError: the key can't be used.
        """
        if self._token is None:
            self._token = self._ask_servers()
            self.tokens_received += 1
            self._is_waiting_announced = False
            self.tracker.note(lambda one, now: one.judged(Authorisation.ACCEPTED, now))
            _logger.info("authorised by %s", self._token.server_url)
        return self._token

    def forget_token(self) -> None:
        """Authenticate again before the next request: the identity or the key may have changed."""
        self._token = None

    def _ask_servers(self) -> Token:
        identity = self.device.identity()
        self.guard.check(identity)
        token = self._ask_each(identity)
        self.guard.accept(identity)
        return token

    def _ask_each(self, identity: Identity) -> Token:
        body = build_auth_body(identity, self.keys.public_key_pem(), self.tenant_token)
        signature = self.keys.sign(body)
        # the server that failed last is tried last: it may still issue tokens although its other services fail
        *others, last = sorted(self.server_urls, key=lambda url: url == self._failed_url)
        self._failed_url = ""
        for server_url in others:
            try:
                return self._ask(server_url, body, signature)
            except (NetworkError, ServerError) as error:
                _logger.warning("%s", Diagnostic("AUT02", f"{error.text}; trying the next server", remedy=error.remedy))
        return self._ask(last, body, signature)

    def _ask(self, server_url: str, body: bytes, signature: bytes) -> Token:
        reply = self._exchange(server_url, build_auth_request(server_url, body, signature))
        try:
            return parse_auth_reply(reply, server_url, now=self.clock.now())
        except UnauthorizedError as error:
            self._announce_waiting(server_url)
            raise NotAcceptedError(
                "AUT01",
                error.text,
                remedy=error.remedy,
                status=error.status,
                retry_after_seconds=error.retry_after_seconds,
            ) from error

    def _exchange(self, server_url: str, request: Request) -> Reply:
        self.tracker.alive()
        reply = self.transport.send(request)
        self.tracker.note(lambda one, now: one.contacted(server_url, now))
        return reply

    def _announce_waiting(self, server_url: str) -> None:
        """Log once that the device has to be accepted; it may be pending for days."""
        self.tracker.note(lambda one, now: one.judged(Authorisation.WAITING, now))
        if not self._is_waiting_announced:
            _logger.info("pending acceptance on %s: accept the device there", server_url)
            self._is_waiting_announced = True

    def call(self, build: Callable[[Token], Request]) -> Reply:
        """Send a request with the token; after a 401, authorise again and repeat it once.

        Args:
            build: builds the request with a token.

        Returns:
            The reply, whatever its status, including a second 401.

        Raises:
            MenderError: as ``authorise``, and NetworkError for the request itself.
        """
        for _ in range(2):
            reply = self._send(build)
            if reply.status != 401:
                break
            self._token = None
        return reply

    def _send(self, build: Callable[[Token], Request]) -> Reply:
        token = self.authorise()
        try:
            reply = self._exchange(token.server_url, build(token))
        except NetworkError:
            self.give_up(token.server_url)
            raise
        if reply.status >= 500:
            self.give_up(token.server_url)
        return reply

    def give_up(self, server_url: str) -> None:
        """Try the other servers first next time, if there are any."""
        if len(self.server_urls) > 1:
            self._token = None
            self._failed_url = server_url
