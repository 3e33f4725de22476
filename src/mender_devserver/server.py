"""``DevServer``: the server as a single object, for tests, demos and the command line.

Its public members can be used from any thread and return copies.
"""

from __future__ import annotations

import copy
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from mender_client.errors import ServerError
from mender_devserver.activity import Event, Exchange
from mender_devserver.artifacts import Artifact, Names
from mender_devserver.certificate import HOSTS, provide_certificate
from mender_devserver.contact import Contact
from mender_devserver.deployments import Deployment
from mender_devserver.deviceconnect import ConnectedDevice
from mender_devserver.devices import KnownDevice
from mender_devserver.faults import Fault
from mender_devserver.ratelimit import RateLimit
from mender_devserver.reasons import reason_of
from mender_devserver.server_thread import Endpoint, ServerThread, wrong_address
from mender_devserver.state import ServerState


class DevServer:
    """A Mender server in one process.

    Args:
        directory: where Artifacts and the certificate are kept; created if missing.
        tls: serve HTTPS with a self-issued certificate (see ``certificate``), otherwise plain HTTP.
        host: the name or address to listen on, also used in links.
        port: for devices and management; 0 selects a free one.
        storage_port: for the object store; 0 selects a free one.
        auto_accept: accept every new device at once.
        v2: offer version 2 of the update poll, which the open-source server does not support.

    Use it as a context manager, or call ``start`` and ``stop``. When it is started again, it has the same ports and
    state, which makes it possible to test an outage.
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
        self._tls = tls
        self._endpoint = Endpoint(host, port, storage_port, None)
        self._token = secrets.token_urlsafe(32)
        self._state = ServerState(self.directory / "artifacts")
        self._state.devices.auto_accept = auto_accept
        self._state.v2 = v2
        self._thread: ServerThread | None = None
        self._certificate: Path | None = None

    # Start and stop

    def __enter__(self) -> DevServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start listening.

        Raises:
            NetworkError: the address or a port is not available.
        """
        if self._tls:
            host, port = self._endpoint.host, self._endpoint.port
            try:
                certificate = provide_certificate(self.directory, tuple(dict.fromkeys((host, *HOSTS))))
            except ValueError as error:
                raise wrong_address(host, port, error) from error
            self._certificate = certificate.authority
            self._endpoint = replace(self._endpoint, context=certificate.context())
        self._state.artifacts.load()
        thread = ServerThread(self._state, self._endpoint, self._token)
        thread.start()
        self._thread = thread
        self._endpoint = replace(self._endpoint, port=thread.port, storage_port=thread.storage_port)
        self.url, self.storage_url = self._endpoint.url(thread.port), self._endpoint.url(thread.storage_port)
        self._contact().save(self.directory)

    def stop(self) -> None:
        """Close all connections and end the thread."""
        if self._thread is not None:
            self._contact().remove(self.directory)
            self._thread.stop()
            self._thread = None

    def _contact(self) -> Contact:
        certificate = str(self._certificate.resolve()) if self._certificate else ""
        return Contact(self.url, self.storage_url, certificate, self._token)

    @property
    def certificate(self) -> Path:
        """The certificate that clients must trust, a PEM file.

        Raises:
            ServerError: the server uses plain HTTP, or has not been started yet.
        """
        if self._certificate is None:
            raise ServerError("there is no certificate: the server uses plain HTTP or was not started", status=404)
        return self._certificate

    @property
    def contact(self) -> Contact:
        """The server's addresses and management token, for the command line. Keep them secret."""
        return self._contact()

    @property
    def page_url(self) -> str:
        """The URL of the page. Its fragment is the management token, so keep it secret."""
        return self._contact().page_url

    # Devices

    def devices(self) -> list[KnownDevice]:
        """All devices."""
        with self._state.lock:
            return copy.deepcopy(list(self._state.devices))

    def accept(self, device_id: str, auth_set_id: str | None = None) -> KnownDevice:
        """Accept a key of a device: the given one, else the newest pending one, else the newest. Ids can be shortened.

        Raises:
            ServerError: 404 for an unknown device, 409 for an ambiguous id.
        """
        with self._state.lock:
            return copy.deepcopy(self._state.devices.accept(device_id, auth_set_id))

    def reject(self, device_id: str, auth_set_id: str | None = None) -> KnownDevice:
        """Reject a device, or one of its keys, and revoke its tokens."""
        with self._state.lock:
            return copy.deepcopy(self._state.devices.reject(device_id, auth_set_id))

    def preauthorize(self, identity: Mapping[str, Any], public_key_pem: str) -> KnownDevice:
        """Accept a device before its first request."""
        with self._state.lock:
            return copy.deepcopy(self._state.devices.preauthorize(dict(identity), public_key_pem))

    def decommission(self, device_id: str) -> None:
        """Remove a device and revoke its tokens."""
        with self._state.lock:
            self._state.decommission(device_id)

    def connected_device(
        self, device_id: str = "", *, after: ConnectedDevice | None = None, seconds: float = 120.0
    ) -> ConnectedDevice:
        """The connection of a device to the device connect service; takes the arguments of ``ConnectedDevices.wait``.

        Raises:
            ServerError: the server isn't running.
            TimeoutError: the device has not connected in time.
        """
        if self._thread is None:
            raise ServerError("cannot find connected devices: the server was not started", status=409)
        return self._thread.connected.wait(device_id, after=after, seconds=seconds)

    def revoke_tokens(self, device_id: str) -> None:
        """Revoke the tokens of a device, as if they had expired; it stays accepted."""
        with self._state.lock:
            self._state.devices.revoke_tokens(device_id)

    def inventory(self, device_id: str) -> dict[str, Any]:
        """The inventory of a device."""
        with self._state.lock:
            return copy.deepcopy(self._state.devices.get(device_id).inventory)

    # Artifacts and deployments

    def upload(
        self, path: Path | str, *, artifact_name: str | None = None, device_types: Sequence[str] = ()
    ) -> Artifact:
        """Copy an Artifact to the server.

        Args:
            path: the file.
            artifact_name: offer the file under this name, without checking that it is an Artifact.
            device_types: the compatible device types, if ``artifact_name`` is given.

        Raises:
            ServerError: 400 if the file can't be read or isn't an Artifact, or for device types without a name.
        """
        if device_types and not artifact_name:
            raise ServerError("cannot use device_types without artifact_name: they are in the Artifact", status=400)
        names = Names(artifact_name, tuple(device_types)) if artifact_name else None
        part = self._state.artifacts.new_part()
        try:
            shutil.copyfile(path, part)
            artifact = self._state.artifacts.keep(part, names)
        except (OSError, ServerError) as error:
            raise ServerError(f"cannot upload {path}: {reason_of(error)}", status=400) from error
        finally:
            part.unlink(missing_ok=True)
        with self._state.lock:
            return self._state.artifacts.add(artifact)

    def artifacts(self) -> list[Artifact]:
        """All Artifacts."""
        with self._state.lock:
            return list(self._state.artifacts)

    def delete_artifact(self, artifact_id: str) -> None:
        """Remove an Artifact; requests for its links are then answered with 404."""
        with self._state.lock:
            self._state.artifacts.delete(artifact_id)

    def deploy(self, artifact_name: str, device_ids: Sequence[str] | None = None, *, force: bool = False) -> str:
        """Create a deployment for some devices, or for all accepted ones, and return its id.

        Raises:
            ServerError: 404 for an unknown Artifact, 409 for an ambiguous id, 400 if no device is accepted.
        """
        with self._state.lock:
            chosen = None if device_ids is None else list(device_ids)
            return self._state.deploy(artifact_name, chosen, force=force).id

    def configure(self, device_id: str, configuration: Mapping[str, str]) -> str:
        """Deploy a configuration to a device, as the real server's UI does, and return the deployment id.

        Its Artifact has the payload type ``mender-configure``, no files, and the name ``configuration-`` followed
        by that id.

        Raises:
            ServerError: 404 for an unknown device.
        """
        with self._state.lock:
            return self._state.configure(device_id, configuration).id

    def deployments(self) -> list[Deployment]:
        """All deployments, oldest first."""
        with self._state.lock:
            return copy.deepcopy(list(self._state.deployments))

    def abort(self, deployment_id: str) -> None:
        """Abort a deployment."""
        with self._state.lock:
            self._state.deployments.abort(deployment_id)

    def status(self, deployment_id: str, device_id: str) -> str:
        """The status of a deployment on a device, including statuses set by the server (``noartifact`` …).

        It is ``pending`` until the device reports its first status, even if the device has not polled yet.
        """
        with self._state.lock:
            device = self._state.devices.get(device_id)
            return self._state.deployments.get(deployment_id).status_of(device.id)

    def statuses(self, deployment_id: str, device_id: str) -> list[str]:
        """Every status that a device reported and the server accepted, in order, including repetitions."""
        with self._state.lock:
            known = self._state.deployments.get(deployment_id).devices
            device = known.get(self._state.devices.get(device_id).id)
            return list(device.received) if device else []

    def log(self, deployment_id: str, device_id: str) -> list[dict[str, Any]] | None:
        """The deployment log of a device; ``None`` if it has sent none."""
        with self._state.lock:
            known = self._state.deployments.get(deployment_id).devices
            device = known.get(self._state.devices.get(device_id).id)
            return copy.deepcopy(device.log) if device else None

    # Faults

    def add_fault(self, fault: Fault) -> None:
        """Append a fault."""
        with self._state.lock:
            self._state.faults.add(fault)

    def clear_faults(self) -> None:
        """Remove all faults."""
        with self._state.lock:
            self._state.faults.clear()

    def faults(self) -> list[Fault]:
        """The remaining faults."""
        with self._state.lock:
            return self._state.faults.listed()

    # Activity

    @property
    def requests(self) -> list[Exchange]:
        """All requests of devices, oldest first."""
        with self._state.lock:
            return self._state.activity.exchanges()

    def clear_requests(self) -> None:
        """Remove the logged requests, so that a test can count from this point."""
        with self._state.lock:
            self._state.activity.clear()

    @property
    def events(self) -> list[Event]:
        """All events, oldest first."""
        with self._state.lock:
            return self._state.activity.events()

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call ``listener`` for each new event. It is called in the server's thread and must not block.

        Returns:
            a function that ends the subscription.
        """
        with self._state.lock:
            return self._state.activity.subscribe(listener)

    def wait_until(self, condition: Callable[[], bool], *, timeout_seconds: float = 60.0) -> None:
        """Wait until a condition is true.

        Raises:
            TimeoutError: the condition has not become true in time.
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
        return self._state.devices.auto_accept

    @auto_accept.setter
    def auto_accept(self, value: bool) -> None:
        self._state.devices.auto_accept = value

    @property
    def v2(self) -> bool:
        """Whether version 2 of the update poll is offered."""
        return self._state.v2

    @v2.setter
    def v2(self, value: bool) -> None:
        self._state.v2 = value

    @property
    def token_seconds(self) -> float:
        """The lifetime in seconds of tokens issued from now on."""
        return self._state.devices.token_seconds

    @token_seconds.setter
    def token_seconds(self, value: float) -> None:
        self._state.devices.token_seconds = value

    @property
    def link_seconds(self) -> float:
        """The lifetime in seconds of links issued from now on."""
        return self._state.storage.link_seconds

    @link_seconds.setter
    def link_seconds(self, value: float) -> None:
        self._state.storage.link_seconds = value

    @property
    def clock_offset_seconds(self) -> float:
        """The number of seconds by which the server's clock is ahead."""
        return self._state.clock_offset_seconds

    @clock_offset_seconds.setter
    def clock_offset_seconds(self, value: float) -> None:
        self._state.clock_offset_seconds = value

    @property
    def rate_limit(self) -> RateLimit | None:
        """The limit on the requests of a device; ``None`` for no limit."""
        return self._state.rate_limit

    @rate_limit.setter
    def rate_limit(self, value: RateLimit | None) -> None:
        self._state.rate_limit = value
