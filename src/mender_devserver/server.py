"""``DevServer``: the server as one object, for tests, demos and the command line.

Everything public is safe to call from any thread, and what it returns is a copy.
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
from mender_devserver.artifacts import Artifact, Names
from mender_devserver.certificate import HOSTS, provide_certificate
from mender_devserver.contact import Contact
from mender_devserver.deployments import Deployment
from mender_devserver.devices import Device
from mender_devserver.faults import Fault
from mender_devserver.host import Host, Place
from mender_devserver.ratelimit import RateLimit
from mender_devserver.record import Event, Exchange
from mender_devserver.state import World


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

    Use it as a context manager, or call ``start`` and ``stop``. Started again, it has the same ports and still knows
    everything: that is how to rehearse an outage.
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
        self._place = Place(host, port, storage_port, None)
        self._token = secrets.token_urlsafe(32)
        self._world = World(self.directory / "artifacts")
        self._world.devices.auto_accept = auto_accept
        self._world.v2 = v2
        self._host: Host | None = None
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
            NetworkError: the address or a port can't be had.
        """
        if self._tls:
            certificate = provide_certificate(self.directory, tuple(dict.fromkeys((self._place.host, *HOSTS))))
            self._certificate = certificate.authority
            self._place = replace(self._place, context=certificate.context())
        self._world.artifacts.load()
        host = Host(self._world, self._place, self._token)
        host.start()
        self._host = host
        self._place = replace(self._place, port=host.port, storage_port=host.storage_port)
        self.url, self.storage_url = self._place.url(host.port), self._place.url(host.storage_port)
        self._contact().save(self.directory)

    def stop(self) -> None:
        """Close all connections and end the thread."""
        if self._host is not None:
            self._contact().remove(self.directory)
            self._host.stop()
            self._host = None

    def _contact(self) -> Contact:
        certificate = str(self._certificate.resolve()) if self._certificate else ""
        return Contact(self.url, self.storage_url, certificate, self._token)

    @property
    def certificate(self) -> Path:
        """The PEM that a client is to trust.

        Raises:
            ServerError: the server speaks plain HTTP, or wasn't started yet.
        """
        if self._certificate is None:
            raise ServerError("cannot name a certificate: the server speaks plain HTTP or has not started", status=404)
        return self._certificate

    @property
    def page_url(self) -> str:
        """The page's address for a browser. What stands behind its ``#`` opens the management: keep it to yourself."""
        return self._contact().page_url

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
            ServerError: 400 when the file can't be read or isn't an Artifact, or for types without a name.
        """
        if device_types and not artifact_name:
            raise ServerError("cannot use device_types without artifact_name: the Artifact says them", status=400)
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

    def wait_until(self, condition: Callable[[], bool], *, timeout_seconds: float = 60.0) -> None:
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
