"""The thread in which the server runs: an event loop with two listeners.

One listener serves devices and management, the other one is the object store, so that download links lead to another
port.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass

from aiohttp import web

from mender_client.errors import NetworkError
from mender_devserver.browser import Guard, Page, is_own_host
from mender_devserver.devauth import PREFIX as DEVAUTH_PREFIX
from mender_devserver.devauth import DeviceManagement
from mender_devserver.device_api import DeviceApi
from mender_devserver.deviceconnect import CONNECT_PATH, ConnectedDevices
from mender_devserver.listener import Connections, RequestHandler
from mender_devserver.management import PREFIX, Management
from mender_devserver.messages import Reply, Request
from mender_devserver.reasons import reason_of
from mender_devserver.routes import answer_of_gateway, route
from mender_devserver.state import ServerState
from mender_devserver.userapi import PREFIX as USER_PREFIX
from mender_devserver.userapi import UserApi

SHUTDOWN_SECONDS = 0.2
BACKLOG = 256
IDLE_SECONDS = 75.0
STORAGE_IDLE_SECONDS = 5.0
"""How long an idle connection is kept open. A download uses its connection only once."""
TLS_BUFFER_BYTES = 16 * 1024
"""The length of the longest TLS record."""
TLS_END_SECONDS = 1.0
"""The time limit for the shutdown of a TLS connection."""

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class _Server(web.Server):
    """Aborts each transport when its connection ends: Python 3.10 warns about a TLS transport closed only by the peer.

    Args:
        handler: answers requests.
        idle_seconds: how long an idle connection is kept open.
    """

    def __init__(self, handler: Handler, idle_seconds: float) -> None:
        super().__init__(handler, access_log=None, keepalive_timeout=idle_seconds)
        self._transports: dict[web.RequestHandler, asyncio.Transport] = {}

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._transports[handler] = transport
        shrink_tls(transport)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        if (transport := self._transports.pop(handler, None)) is not None:
            transport.abort()

    async def abort(self) -> None:
        """Abort the remaining connections, without waiting for the TLS shutdown."""
        for transport in tuple(self._transports.values()):
            transport.abort()
        await asyncio.sleep(0)  # the loop notifies the protocols …
        await asyncio.sleep(0)  # … and closes the sockets


def shrink_tls(transport: asyncio.BaseTransport) -> None:
    """Reduce the memory of a TLS connection, and the time for which it is kept after its end.

    asyncio allocates a buffer of 256 KiB for each connection, even while it is idle, and keeps the connection for half
    a minute after its end if the peer doesn't confirm the shutdown, for instance because the device is asleep.

    The attributes exist in CPython 3.11 and newer; with other versions, this function has no effect.
    """
    protocol = getattr(transport, "_ssl_protocol", None)
    if len(getattr(protocol, "_ssl_buffer", b"")) > TLS_BUFFER_BYTES and hasattr(protocol, "max_size"):
        buffer = bytearray(TLS_BUFFER_BYTES)
        vars(protocol).update(max_size=TLS_BUFFER_BYTES, _ssl_buffer=buffer, _ssl_buffer_view=memoryview(buffer))
        vars(protocol).update(_ssl_shutdown_timeout=TLS_END_SECONDS)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The addresses to listen on.

    Args:
        host: a name or an address.
        port: for devices, management and page; 0 selects a free one.
        storage_port: for the object store; 0 selects a free one.
        context: the TLS context of the server; None for plain HTTP.
    """

    host: str
    port: int
    storage_port: int
    context: ssl.SSLContext | None

    def url(self, port: int) -> str:
        """The base URL for a port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.context else 'http'}://{host}:{port}"


def _response(reply: Reply) -> web.Response:
    return web.Response(status=reply.status, body=reply.body, headers=dict(reply.headers))


class ServerThread:
    """Runs the listeners until it is stopped.

    Args:
        state: the server's state.
        endpoint: where to listen.
        token: the management token.
    """

    def __init__(self, state: ServerState, endpoint: Endpoint, token: str) -> None:
        self.port, self.storage_port = endpoint.port, endpoint.storage_port
        self._state = state
        self._endpoint = endpoint
        self._token = token
        self.connected = ConnectedDevices(state)
        state.wake = self.connected.wake
        self._runners: list[web.ServerRunner] = []
        self._servers: list[_Server] = []
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="mender-devserver")

    def start(self) -> None:
        """Start listening; the ports are known afterwards.

        Raises:
            NetworkError: the address or a port is not available.
        """
        self._thread.start()
        try:
            self._ready.result()
        except BaseException:
            self._thread.join()
            raise

    def stop(self) -> None:
        """Close all connections and end the thread."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except NetworkError as error:
            self._ready.set_exception(error)
        finally:
            self._ready.cancel()  # start() must not wait for ever after any other error either

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            main, storage = self._handlers()
            self.storage_port = await self._listen(storage, self._endpoint.storage_port, STORAGE_IDLE_SECONDS)
            self.port = await self._listen(main, self._endpoint.port, IDLE_SECONDS)
            self._state.url, self._state.storage_url = map(self._endpoint.url, (self.port, self.storage_port))
            self._ready.set_result(None)
            await self._stop.wait()
        finally:
            for runner in self._runners:
                await runner.cleanup()
            for server in self._servers:
                await server.abort()

    def _handlers(self) -> tuple[Handler, Handler]:
        state, connections, page = self._state, Connections(), Page()
        guard = Guard(self._token, self._endpoint.host)
        device_api, management, users = (
            DeviceApi(state),
            Management(state, guard),
            UserApi(state, self.connected, guard),
        )
        managed = DeviceManagement(state, guard)
        devices = RequestHandler(
            state,
            connections,
            kind_of=lambda path: route(path)[0].partition(" ")[0],
            answer=device_api.answer,
            device_of=device_api.device_of,
        )
        storage = RequestHandler(
            state,
            connections,
            kind_of=lambda _: "artifact",
            answer=state.storage.answer,
            device_of=state.storage.device_of,
        )

        async def main(raw: web.BaseRequest) -> web.StreamResponse:
            try:
                if (reply := page.answer(Request(raw.method, raw.path))) is not None:
                    return _response(reply)
                if raw.path.startswith(PREFIX):
                    return await management(raw)
                if raw.path.startswith(DEVAUTH_PREFIX):
                    return await managed(raw)
                if raw.path.startswith(USER_PREFIX):
                    return await users(raw)
                if not is_own_host(raw.headers.get("Host", ""), self._endpoint.host):
                    return _response(answer_of_gateway())  # the real gateway, too, serves only its own host names
                if raw.path == CONNECT_PATH and raw.method == "GET":
                    return await self.connected(raw)
                return await devices(raw)
            except ConnectionError:
                return web.StreamResponse()  # the client closed the connection during the request

        return main, storage

    async def _listen(self, handler: Handler, port: int, idle_seconds: float) -> int:
        server = _Server(handler, idle_seconds)
        runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        self._runners.append(runner)
        self._servers.append(server)
        host = self._endpoint.host
        try:
            if not host:  # asyncio would listen on all addresses, and no link could name one
                raise ValueError("the host is empty")
            await web.TCPSite(runner, host, port, ssl_context=self._endpoint.context, backlog=BACKLOG).start()
        except (OSError, OverflowError, ValueError) as error:  # the others: numbers that are no port, names of no host
            raise wrong_address(host, port, error) from error
        return int(runner.addresses[0][1])


def wrong_address(host: str, port: int, error: Exception) -> NetworkError:
    """The error that a server cannot listen on an address."""
    return NetworkError(
        f"cannot listen on {host or repr(host)}:{port}: {reason_of(error)}; choose another host or port"
    )
