"""``DevServer``: the server as one object, for tests, demos and the command line.

It runs an event loop in a thread of its own, with two listeners: one for devices and management, one that plays the
object store, so that a link really leads to another host and port. Everything public is safe to call from any thread.
"""

from __future__ import annotations

import asyncio
import copy
import secrets
import shutil
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any

from aiohttp import web

from mender_client.devserver.artifacts import Artifact, Names
from mender_client.devserver.certificate import HOSTS, provide_certificate
from mender_client.devserver.contact import Contact
from mender_client.devserver.deployments import Deployment
from mender_client.devserver.device_api import DeviceApi, route
from mender_client.devserver.devices import Device
from mender_client.devserver.faults import Fault
from mender_client.devserver.listener import Connections, Front
from mender_client.devserver.management import PREFIX, Management
from mender_client.devserver.record import Event, Exchange
from mender_client.devserver.settings import RateLimit
from mender_client.devserver.state import World
from mender_client.errors import NetworkError, ServerError

SHUTDOWN_SECONDS = 0.2
BACKLOG = 256


class DevServer:
    """A Mender server in one process.

    Args:
        directory: where Artifacts and the certificate are kept; made if it isn't there.
        tls: serve HTTPS with a certificate of its own (see ``certificate``), else plain HTTP.
        host: the name or address to listen on, which is also the one in links.
        port: for devices and management; 0 takes a free one.
        storage_port: for the storage; 0 takes a free one.
        auto_accept: accept every device at once.
        v2: offer the v2 way to ask for a deployment, which the open-source server doesn't.

    Use it as a context manager, or call ``start`` and ``stop``.
    """

    def __init__(
        self,
        directory: Path | str,
        *,
        tls: bool = True,
        host: str = "127.0.0.1",
        port: int = 0,
        storage_port: int = 0,
        auto_accept: bool = False,
        v2: bool = False,
    ) -> None:
        self.directory = Path(directory)
        self.url = ""
        self.storage_url = ""
        self._management_token = secrets.token_urlsafe(32)
        self._tls = tls
        self._host = host
        self._ports = (port, storage_port)
        self._world = World(self.directory / "artifacts")
        self._world.devices.auto_accept = auto_accept
        self._world.v2 = v2
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._context: ssl.SSLContext | None = None
        self._certificate: Path | None = None

    # Life

    def __enter__(self) -> DevServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen.

        Raises:
            NetworkError: the address can't be had.
        """
        if self._tls:
            certificate = provide_certificate(self.directory, tuple(dict.fromkeys((self._host, *HOSTS))))
            self._certificate, self._context = certificate.authority, certificate.context()
        self._world.artifacts.load()
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), name="mender-devserver")
        self._thread.start()
        try:
            ready.result()
        except OSError as error:
            self._thread.join()
            raise NetworkError(f"cannot listen on {self._host}: {error}; choose other ports") from error
        self._contact.save(self.directory)

    def stop(self) -> None:
        """Close all connections and end the thread."""
        if self._thread is None or self._loop is None or self._stop is None:
            return
        self._contact.remove(self.directory)
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._thread = None

    @property
    def _contact(self) -> Contact:
        certificate = str(self._certificate.resolve()) if self._certificate else ""
        return Contact(self.url, self.storage_url, certificate, self._management_token)

    async def _serve(self, ready: Future[None]) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        runners: list[web.ServerRunner] = []
        try:
            device_api, connections = DeviceApi(self._world), Connections()
            main = Front(
                self._world,
                connections,
                kind_of=lambda path: route(path)[0].partition(" ")[0],
                answer=device_api.answer,
                device_of=device_api.device_of,
            )
            storage = Front(
                self._world,
                connections,
                kind_of=lambda _: "artifact",
                answer=self._world.storage.answer,
                device_of=self._world.storage.device_of,
            )
            self.storage_url = await self._listen(storage, self._ports[1], runners)
            self._world.storage_url = self.storage_url
            management = Management(self._world, self._management_token)

            async def choose(raw: web.BaseRequest) -> web.StreamResponse:
                return await (management if raw.path.startswith(PREFIX) else main)(raw)

            self.url = await self._listen(choose, self._ports[0], runners)
            ready.set_result(None)
            await self._stop.wait()
        except OSError as error:
            ready.set_exception(error)
        finally:
            for runner in runners:
                await _close(runner)

    async def _listen(
        self,
        handler: Callable[[web.BaseRequest], Any],
        port: int,
        runners: list[web.ServerRunner],
    ) -> str:
        runner = web.ServerRunner(web.Server(handler, access_log=None), shutdown_timeout=SHUTDOWN_SECONDS)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, self._host, port, ssl_context=self._context, backlog=BACKLOG).start()
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{runner.addresses[0][1]}"

    @property
    def certificate(self) -> Path:
        """The PEM that a client is to trust.

        Raises:
            ServerError: the server speaks plain HTTP, or wasn't started yet.
        """
        if self._certificate is None:
            raise ServerError("cannot name a certificate: the server speaks plain HTTP or has not started", status=404)
        return self._certificate

    # Devices

    def devices(self) -> list[Device]:
        """All devices, as they stand now."""
        with self._world.lock:
            return copy.deepcopy(list(self._world.devices))

    def accept(self, device_id: str, auth_set_id: str | None = None) -> Device:
        """Trust a device: the key named, else its newest one. Ids may be cut to their first characters.

        Raises:
            ServerError: 404 for an unknown device, 409 for an id that fits several.
        """
        with self._world.lock:
            return copy.deepcopy(self._world.devices.accept(device_id, auth_set_id))

    def reject(self, device_id: str, auth_set_id: str | None = None) -> Device:
        """Trust a device (or one key of it) no longer; its tokens end."""
        with self._world.lock:
            return copy.deepcopy(self._world.devices.reject(device_id, auth_set_id))

    def preauthorize(self, identity: Mapping[str, Any], public_key_pem: str) -> Device:
        """Trust a device before it has ever asked."""
        with self._world.lock:
            return copy.deepcopy(self._world.devices.preauthorize(dict(identity), public_key_pem))

    def decommission(self, device_id: str) -> None:
        """Forget a device; its tokens end."""
        with self._world.lock:
            self._world.decommission(device_id)

    def revoke_tokens(self, device_id: str) -> None:
        """End a device's tokens, as if their time were up; the device stays accepted."""
        with self._world.lock:
            self._world.devices.revoke_tokens(device_id)

    def inventory(self, device_id: str) -> dict[str, Any]:
        """What a device has told about itself."""
        with self._world.lock:
            return copy.deepcopy(self._world.devices.get(device_id).inventory)

    # Artifacts and deployments

    def upload(
        self, path: Path | str, *, artifact_name: str | None = None, device_types: Sequence[str] = ()
    ) -> Artifact:
        """Copy an Artifact onto the server.

        Args:
            path: the file.
            artifact_name: offer the file under this name without looking at it, be it an Artifact or not.
            device_types: with ``artifact_name``: what it is for.

        Raises:
            ServerError: 400 when the file can't be read or isn't an Artifact.
        """
        names = Names(artifact_name, tuple(device_types)) if artifact_name else None
        part = self._world.artifacts.new_part()
        try:
            shutil.copyfile(path, part)
            artifact = self._world.artifacts.keep(part, names)
        except (OSError, ServerError) as error:
            raise ServerError(f"cannot upload {path}: {error}", status=400) from error
        finally:
            part.unlink(missing_ok=True)
        with self._world.lock:
            return self._world.artifacts.add(artifact)

    def artifacts(self) -> list[Artifact]:
        """All Artifacts."""
        with self._world.lock:
            return list(self._world.artifacts)

    def delete_artifact(self, artifact_id: str) -> None:
        """Remove an Artifact; links to it end in 404."""
        with self._world.lock:
            self._world.artifacts.delete(artifact_id)

    def deploy(self, artifact_name: str, device_ids: Sequence[str] | None = None, *, force: bool = False) -> str:
        """Make a deployment for some devices, or for all accepted ones, and return its id.

        Raises:
            ServerError: 404 for an unknown Artifact or device, 400 when no device is accepted.
        """
        with self._world.lock:
            chosen = None if device_ids is None else list(device_ids)
            return self._world.deploy(artifact_name, chosen, force=force).id

    def deployments(self) -> list[Deployment]:
        """All deployments, the oldest first, as they stand now."""
        with self._world.lock:
            return copy.deepcopy(list(self._world.deployments))

    def abort(self, deployment_id: str) -> None:
        """Stop a deployment."""
        with self._world.lock:
            self._world.deployments.abort(deployment_id)

    def status(self, deployment_id: str, device_id: str) -> str:
        """How a deployment stands on a device; also what the server itself has decided (``noartifact`` …)."""
        with self._world.lock:
            device = self._world.devices.get(device_id)
            return self._world.deployments.get(deployment_id).status_of(device.id)

    def statuses(self, deployment_id: str, device_id: str) -> list[str]:
        """Every status that a device has reported and the server has taken, repeats included, in order."""
        with self._world.lock:
            known = self._world.deployments.get(deployment_id).devices
            device = known.get(self._world.devices.get(device_id).id)
            return list(device.received) if device else []

    def log(self, deployment_id: str, device_id: str) -> list[dict[str, Any]] | None:
        """The log of a deployment on a device; ``None`` when it has sent none."""
        with self._world.lock:
            known = self._world.deployments.get(deployment_id).devices
            device = known.get(self._world.devices.get(device_id).id)
            return copy.deepcopy(device.log) if device else None

    # Bad days

    def add_fault(self, fault: Fault) -> None:
        """Put a fault at the end of the list."""
        with self._world.lock:
            self._world.faults.add(fault)

    def clear_faults(self) -> None:
        """Let everything work again."""
        with self._world.lock:
            self._world.faults.clear()

    def faults(self) -> list[Fault]:
        """The faults still to come."""
        with self._world.lock:
            return self._world.faults.listed()

    # What happened

    @property
    def requests(self) -> list[Exchange]:
        """Every request of a device so far, the oldest first."""
        with self._world.lock:
            return self._world.record.exchanges()

    def clear_requests(self) -> None:
        """Forget the requests so far, for a test that counts from here on."""
        with self._world.lock:
            self._world.record.clear()

    @property
    def events(self) -> list[Event]:
        """Everything worth a line in a timeline, the oldest first."""
        with self._world.lock:
            return self._world.record.events()

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call ``listener`` for every event to come, in the server's thread: it must return at once.

        Returns:
            a function that ends it.
        """
        with self._world.lock:
            return self._world.record.subscribe(listener)

    def wait_until(self, condition: Callable[[], bool], *, timeout_seconds: float = 10.0) -> None:
        """Wait until something is true of the server.

        Raises:
            TimeoutError: it didn't come true in time.
        """
        end = time.monotonic() + timeout_seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"cannot wait longer than {timeout_seconds:g} s for the condition")
            time.sleep(0.01)

    # Settings

    @property
    def auto_accept(self) -> bool:
        """Whether every new device is accepted at once."""
        return self._world.devices.auto_accept

    @auto_accept.setter
    def auto_accept(self, value: bool) -> None:
        self._world.devices.auto_accept = value

    @property
    def v2(self) -> bool:
        """Whether the v2 way to ask for a deployment is offered."""
        return self._world.v2

    @v2.setter
    def v2(self, value: bool) -> None:
        self._world.v2 = value

    @property
    def token_seconds(self) -> float:
        """The life of a token given from now on."""
        return self._world.devices.token_seconds

    @token_seconds.setter
    def token_seconds(self, value: float) -> None:
        self._world.devices.token_seconds = value

    @property
    def link_seconds(self) -> float:
        """The life of a link given from now on."""
        return self._world.storage.link_seconds

    @link_seconds.setter
    def link_seconds(self, value: float) -> None:
        self._world.storage.link_seconds = value

    @property
    def clock_offset_seconds(self) -> float:
        """How far the server's clock is ahead of the true time."""
        return self._world.clock_offset_seconds

    @clock_offset_seconds.setter
    def clock_offset_seconds(self, value: float) -> None:
        self._world.clock_offset_seconds = value

    @property
    def rate_limit(self) -> RateLimit | None:
        """How many requests a device may make; ``None`` for any number."""
        return self._world.rate_limit

    @rate_limit.setter
    def rate_limit(self, value: RateLimit | None) -> None:
        self._world.rate_limit = value


async def _close(runner: web.ServerRunner) -> None:
    """Stop listening and end the connections, without waiting for a TLS client to say goodbye."""
    open_ones = [one.transport for one in runner.server.connections] if runner.server else []
    await runner.cleanup()
    for transport in open_ones:
        if transport is not None:
            transport.abort()
    await asyncio.sleep(0)  # the loop closes the sockets
    await asyncio.sleep(0)
