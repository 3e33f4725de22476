"""Offers the authorisation of this device on the bus, as the C++ client does: a token, and the server it is for.

A token is fetched when the program starts, when an add-on asks for a new one, and when the server refuses the current
one. Each time, the signal is sent, with empty values after a failure, which is retried with back-off. So is a lost
connection to the bus.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from mender_client import TYPE_CHECKING
from mender_client.connect.loop import Background, Call, Loop
from mender_client.core.backoff import Backoff
from mender_client.core.model import Token
from mender_client.dataclass import dataclass
from mender_client.errors import DeviceError, Interrupted, MenderError, NotAcceptedError, ServerError

from .bus import Bus
from .objects import BusObject, Interface, Method
from .proxy import LocalProxy
from .request import Far

if TYPE_CHECKING:
    from jeepney import Message

_logger = logging.getLogger(__name__)

NAME = "io.mender.AuthenticationManager"
PATH = "/io/mender/AuthenticationManager"
_INTERFACE = "io.mender.Authentication1"
_SIGNAL = "JwtTokenStateChange"
_TOKEN = (("token", "s"), ("server_url", "s"))

LASTING_SECONDS = 60.0
"""A token that is refused sooner counts as a failure: another one would probably be refused as well."""
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_BUS_PAUSE_SECONDS = 60.0


@dataclass(frozen=True)
class Server:
    """Access to the server. All functions but ``has_others`` are called in a thread, and may raise MenderError.

    Attributes:
        authorise: fetches a new token.
        give_up: called with the URL of a server that doesn't work, before the next ``authorise``.
        reach: as for ``LocalProxy``.
        has_others: returns whether there is more than one server.
    """

    authorise: Callable[[], Token]
    give_up: Callable[[str], None]
    reach: Callable[[str], Far]
    has_others: Callable[[], bool]


class DbusService:
    """The authorisation of this device on a message bus.

    Args:
        address: the address of the bus.
        server: access to the server.
        longest_pause_seconds: the longest pause between two attempts to fetch a token.
        random: returns numbers in [0, 1) for jitter, as for ``Backoff``.
        others: further interfaces of the object on the bus.
    """

    def __init__(
        self,
        address: str,
        server: Server,
        longest_pause_seconds: float,
        random: Callable[[], float],
        others: Sequence[Interface],
    ) -> None:
        self.loop = Loop()
        self._address = address
        self._server = server
        self._random = random
        self._is_stopping = False
        self._bus: Bus | None = None
        self._bus_backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_BUS_PAUSE_SECONDS)
        self._refusal: MenderError | None = None
        self._is_bus_missed = False
        self._background = Background(self.loop)
        self._proxy = LocalProxy(self.loop, server.reach, self._answered)
        self._token: Token | None = None
        self._fetched_at = 0.0
        self._is_fetching = False
        self._waiting: list[Callable[[], None]] = []
        self._next: Call | None = None
        self._backoff = Backoff(_FIRST_PAUSE_SECONDS, longest_pause_seconds)
        self._said = ""
        self._authentication = Interface(
            _INTERFACE,
            [
                Method("GetJwtToken", (), _TOKEN, self._current),
                Method("FetchJwtToken", (), (("success", "b"),), self._asked),
            ],
            [(_SIGNAL, _TOKEN)],
        )
        self._object = BusObject(PATH, [self._authentication, *others])

    def run(self) -> None:
        """Serve until ``stop`` is called.

        Raises:
            RefusedByBusError: the bus can't be used, or refuses this program its name.
        """
        try:
            self._join()
            self._fetch()
            self.loop.run(lambda: self._is_stopping)
            if self._refusal is not None:
                raise self._refusal
        finally:
            if self._bus is not None:
                self._bus.close()
            self._proxy.close()
            self.loop.close()

    def stop(self) -> None:
        """Stop soon; safe in a signal handler."""
        self._is_stopping = True
        self.loop.wake()

    def call_when_settled(self, callback: Callable[[], None]) -> None:
        """Call a function soon, but not while a token is being fetched; safe in a signal handler."""
        self.loop.post(lambda: self._waiting.append(callback) if self._is_fetching else callback())

    def renew(self, longest_pause_seconds: float) -> None:
        """Fetch a new token, because the server or the way to reach it may have changed.

        The current token remains in use until then, and connections are kept. Don't call this while a token is being
        fetched.
        """
        self._backoff = Backoff(_FIRST_PAUSE_SECONDS, longest_pause_seconds)
        self._said = ""
        self._fetch()

    # -- the bus ----------------------------------------------------------------------------------------------------

    def _join(self) -> None:
        try:
            self._bus = Bus(self.loop, self._address, NAME)
        except DeviceError as error:
            self._bus_backoff = self._bus_backoff.after_failure()
            if not self._is_bus_missed:
                _logger.warning("%s", error)
                self._is_bus_missed = True
            self.loop.call_later(self._bus_backoff.delay_seconds(random=self._random()), self._join)
            return
        except MenderError as error:
            self._refusal = error
            self._is_stopping = True
            return
        self._bus_backoff = self._bus_backoff.after_success()
        self._is_bus_missed = False
        _logger.info("%s is on the bus", NAME)
        self._bus.listen(self._received, self._lost)

    def _lost(self) -> None:
        self._bus = None
        _logger.info("the bus has closed the connection")
        self._bus_backoff = self._bus_backoff.after_failure()
        self.loop.call_later(self._bus_backoff.delay_seconds(random=self._random()), self._join)

    def _received(self, message: Message) -> None:
        reply = self._object.answer(message)
        if reply is not None and self._bus is not None:
            self._bus.send(reply)

    def _emit(self) -> None:
        if self._bus is not None:
            self._bus.send(self._object.signal(self._authentication, _SIGNAL, *self._current()))

    # -- the token --------------------------------------------------------------------------------------------------

    def _current(self) -> tuple[str, str]:
        return ("", "") if self._token is None else (self._token.value, self._proxy.url)

    def _asked(self) -> tuple[bool]:
        """Handle FetchJwtToken; the signal reports the result."""
        self._fetch()
        return (True,)

    def _fetch(self, given_up: str = "") -> None:
        if self._is_fetching:
            return
        self._is_fetching = True
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._background.run(lambda: self._authorise(given_up))

    def _authorise(self, given_up: str) -> Callable[[], None]:
        """Fetch a token, in a thread; return a function that the loop then calls."""
        try:
            if given_up:
                self._server.give_up(given_up)
            token = self._server.authorise()
        except Interrupted:
            return lambda: None
        except MenderError as error:
            failure = error
            return lambda: self._settled(lambda: self._failed(failure))
        return lambda: self._settled(lambda: self._authorised(token))

    def _settled(self, then: Callable[[], None]) -> None:
        self._is_fetching = False
        then()
        while self._waiting and not self._is_fetching:
            self._waiting.pop(0)()

    def _authorised(self, token: Token) -> None:
        try:
            self._proxy.serve(token.value, token.server_url)
        except DeviceError as error:
            self._failed(error)
            return
        if self._token is None:  # otherwise the last one was refused soon, and this one may be too
            self._backoff = self._backoff.after_success()
        self._token, self._said = token, ""
        self._fetched_at = self.loop.now()
        _logger.info("add-ons reach %s at %s", token.server_url, self._proxy.url)
        self._emit()

    def _failed(self, error: MenderError) -> None:
        self._token = None
        self._proxy.close_door()
        if (text := str(error)) != self._said and not isinstance(error, NotAcceptedError):  # already logged
            self._said = text
            _logger.warning("%s", error)
        self._emit()
        self._fetch_later(error.retry_after_seconds if isinstance(error, ServerError) else None)

    def _fetch_later(self, retry_after_seconds: float | None = None, given_up: str = "") -> None:
        self._backoff = self._backoff.after_failure()
        pause = self._backoff.delay_seconds(random=self._random(), retry_after_seconds=retry_after_seconds)
        self._next = self.loop.call_later(pause, lambda: self._fetch(given_up))

    def _answered(self, status: int | None) -> None:
        """Handle the status of an answer to an add-on: replace a refused token, leave a failing server for another."""
        token = self._token
        is_failing = self._server.has_others() and (status is None or status >= 500)
        if token is None or self._is_fetching or self._next is not None or not (status == 401 or is_failing):
            return
        given_up = token.server_url if is_failing else ""
        if self.loop.now() - self._fetched_at >= LASTING_SECONDS:
            self._backoff = self._backoff.after_success()
            self._fetch(given_up)
        else:
            self._fetch_later(given_up=given_up)
