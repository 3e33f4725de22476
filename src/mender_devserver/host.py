"""The thread in which the server lives: an event loop with two listeners.

One is for devices and management, the other plays the object store, so that a link really leads to another host and
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
from mender_devserver.browser import Page
from mender_devserver.device_api import DeviceApi, route
from mender_devserver.listener import Connections, Front
from mender_devserver.management import PREFIX, Management
from mender_devserver.messages import Request
from mender_devserver.state import World

SHUTDOWN_SECONDS = 0.2
BACKLOG = 256

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class _Server(web.Server):
    """Ends each transport with its connection: Python 3.10 warns of a TLS transport that only the peer has closed."""

    def __init__(self, handler: Handler) -> None:
        super().__init__(handler, access_log=None)
        self._transports: dict[web.RequestHandler, asyncio.Transport] = {}

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._transports[handler] = transport

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        if (transport := self._transports.pop(handler, None)) is not None:
            transport.abort()

    async def abort(self) -> None:
        """End the connections that are left, without waiting for a TLS client to say goodbye."""
        for transport in tuple(self._transports.values()):
            transport.abort()
        await asyncio.sleep(0)  # the loop tells the protocols …
        await asyncio.sleep(0)  # … and closes the sockets


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen, and where it listens.

    Args:
        host: a name or an address.
        port: for devices, management and page; 0 takes a free one.
        storage_port: for the storage; 0 takes a free one.
        context: the server's side of TLS; None for plain HTTP.
    """

    host: str
    port: int
    storage_port: int
    context: ssl.SSLContext | None

    def url(self, port: int) -> str:
        """The base URL at a port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.context else 'http'}://{host}:{port}"


class Host:
    """Runs the listeners until it is told to stop.

    Args:
        world: the server's state.
        place: where to listen.
        token: opens the management.
    """

    def __init__(self, world: World, place: Place, token: str) -> None:
        self.port, self.storage_port = place.port, place.storage_port
        self._world = world
        self._place = place
        self._token = token
        self._runners: list[web.ServerRunner] = []
        self._servers: list[_Server] = []
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="mender-devserver")

    def start(self) -> None:
        """Listen; the ports are known then.

        Raises:
            NetworkError: the address or a port can't be had.
        """
        self._thread.start()
        try:
            self._ready.result()
        except OSError as error:
            self._thread.join()
            raise NetworkError(f"cannot listen on {self._place.host}: {error}; choose other ports") from error

    def stop(self) -> None:
        """End all connections and the thread."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as error:
            self._ready.set_exception(error)
        finally:
            self._ready.cancel()  # whatever else went wrong, nobody waits for ever

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            main, storage = self._handlers()
            self.storage_port = await self._listen(storage, self._place.storage_port)
            self.port = await self._listen(main, self._place.port)
            self._world.storage_url = self._place.url(self.storage_port)
            self._ready.set_result(None)
            await self._stop.wait()
        finally:
            for runner in self._runners:
                await runner.cleanup()
            for server in self._servers:
                await server.abort()

    def _handlers(self) -> tuple[Handler, Handler]:
        world, connections, page = self._world, Connections(), Page()
        device_api, management = DeviceApi(world), Management(world, self._token, self._place.host)
        devices = Front(
            world,
            connections,
            kind_of=lambda path: route(path)[0].partition(" ")[0],
            answer=device_api.answer,
            device_of=device_api.device_of,
        )
        storage = Front(
            world,
            connections,
            kind_of=lambda _: "artifact",
            answer=world.storage.answer,
            device_of=world.storage.device_of,
        )

        async def main(raw: web.BaseRequest) -> web.StreamResponse:
            try:
                if (reply := page.answer(Request(raw.method, raw.path))) is not None:
                    return web.Response(status=reply.status, body=reply.body, headers=dict(reply.headers))
                return await (management if raw.path.startswith(PREFIX) else devices)(raw)
            except ConnectionError:
                return web.StreamResponse()  # the client went away in mid-request; there is nobody to answer

        return main, storage

    async def _listen(self, handler: Handler, port: int) -> int:
        server = _Server(handler)
        runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        self._runners.append(runner)
        self._servers.append(server)
        await web.TCPSite(runner, self._place.host, port, ssl_context=self._place.context, backlog=BACKLOG).start()
        return int(runner.addresses[0][1])
