"""A virtual device: the real client with a directory for its files and a function that simulates the installation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from mender_client import Client, Deployment, DeviceDescription, InstallFunction

from .keys import provide_key

LONGEST_WAIT_SECONDS = 0.05


class VirtualDevice:
    """A virtual device: authenticates, sends its inventory, polls, downloads, verifies and reports like a real device.

    Only the installation is simulated. Key, state file and Artifact are in its directory; a new device with the same
    directory continues where the previous one ended. One process can run many devices, each in its own thread.

    Args:
        server_url: the Mender server, for example ``DevServer.url``.
        directory: its files; created if missing.
        certificate: the certificate to trust, for example ``DevServer.certificate``; None for plain HTTP.
        identity: its identity attributes; None uses the name of the directory.
        device_type: its device type.
        artifact_name: the name of the Artifact that is installed initially.
        inventory: its inventory attributes.
        install: simulates the installation of a verified Artifact; an exception makes the deployment fail. With None,
            every installation succeeds.
        poll_seconds: the interval between polls, and the maximum wait after a failure; at least 1.

    Raises:
        ConfigError: a URL or a number is invalid.

    Use it as a context manager, or call ``close``.
    """

    def __init__(
        self,
        server_url: str,
        directory: Path,
        *,
        certificate: Path | None = None,
        identity: Mapping[str, str] | None = None,
        device_type: str = "virtual",
        artifact_name: str = "release-1",
        inventory: Mapping[str, str] | None = None,
        install: InstallFunction | None = None,
        poll_seconds: int = 1,
    ) -> None:
        settings: dict[str, object] = {
            "ServerURL": server_url,
            "UpdatePollIntervalSeconds": poll_seconds,
            "InventoryPollIntervalSeconds": 3600,
            "RetryPollIntervalSeconds": poll_seconds,
        }
        if certificate is not None:
            settings["ServerCertificate"] = str(certificate)
        self.description = DeviceDescription(
            identity=identity or {"name": directory.name},
            device_type=device_type,
            artifact_name=artifact_name,
            inventory=dict(inventory or {}),
        )
        self.install = install
        provide_key(directory / "mender-agent.pem")
        self.client = Client(settings, data=directory, device=self.description, install=self._install)
        self._thread: threading.Thread | None = None

    def __enter__(self) -> VirtualDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def artifact_name(self) -> str:
        """The name of the installed Artifact."""
        return self.description.artifact_name

    def start(self) -> VirtualDevice:
        """Run in a thread until ``close``; don't call ``step`` or ``run_until`` meanwhile."""
        self._thread = threading.Thread(target=self.client.run, name=f"virtual device {self.description.identity}")
        self._thread.start()
        return self

    def step(self) -> float:
        """Perform the actions that are due, and return the seconds until the next step."""
        return self.client.step()

    def run_until(self, condition: Callable[[], bool], *, timeout_seconds: float = 60.0) -> None:
        """Call ``step`` until a condition is true.

        Raises:
            TimeoutError: the condition has not become true in time.
        """
        end = time.monotonic() + timeout_seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"cannot wait longer than {timeout_seconds:g} s for the condition")
            time.sleep(min(self.step(), LONGEST_WAIT_SECONDS))

    def poll_now(self) -> None:
        """Poll at once; can be called from any thread."""
        self.client.poll_now()

    def close(self) -> None:
        """Stop, close the connections and release the directory."""
        if self._thread is not None:
            self.client.stop()
            self._thread.join()
        self.client.close()

    def _install(self, artifact: Path, deployment: Deployment) -> bool | None:
        is_installed = True if self.install is None else self.install(artifact, deployment)
        if is_installed:
            self.description.artifact_name = deployment.artifact_name
        return is_installed
