"""A device without a board: the real client, with a directory for a disk and a function for a sub-updater."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from mender_client import Client, Deployment, DeviceDescription, InstallFunction

from .keys import provide_key

LONGEST_NAP_SECONDS = 0.05


class VirtualDevice:
    """A device for tests: it authorises, sends its inventory, polls, downloads, verifies and reports, all for real.

    Only the installation is pretended. Key, journal and Artifact are files in its directory; a second device on the
    same directory goes on where the first one ended. Many of them fit into one process, each stepped by one thread.

    Args:
        server_url: the Mender server, for example ``DevServer.url``.
        directory: its disk; made if it isn't there.
        certificate: what to trust, for example ``DevServer.certificate``; None for plain HTTP.
        identity: what it says it is; None takes the directory's name.
        device_type: what it is.
        artifact_name: what it runs at first.
        inventory: its attributes.
        install: pretends to install a verified Artifact; its exception is the reason of a failure. None succeeds.
        poll_seconds: the time between two polls, and the longest wait after a failure; at least 1.

    Raises:
        ConfigError: a URL or a number can't be used.

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
        """The Artifact that the device runs."""
        return self.description.artifact_name

    def start(self) -> VirtualDevice:
        """Live in a thread of its own until ``close``; who does this doesn't call ``step`` or ``run_until``."""
        self._thread = threading.Thread(target=self.client.run, name=f"virtual device {self.description.identity}")
        self._thread.start()
        return self

    def step(self) -> float:
        """Do what is due; returns the seconds until the next step."""
        return self.client.step()

    def run_until(self, condition: Callable[[], bool], *, timeout_seconds: float = 60.0) -> None:
        """Step until something is true.

        Raises:
            TimeoutError: it didn't come true in time.
        """
        end = time.monotonic() + timeout_seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"cannot wait longer than {timeout_seconds:g} s for the condition")
            time.sleep(min(self.step(), LONGEST_NAP_SECONDS))

    def poll_now(self) -> None:
        """Ask for a deployment at once; from any thread."""
        self.client.poll_now()

    def close(self) -> None:
        """Stop, and give connections and the directory back."""
        if self._thread is not None:
            self.client.stop()
            self._thread.join()
        self.client.close()

    def _install(self, artifact: Path, deployment: Deployment) -> bool | None:
        is_installed = True if self.install is None else self.install(artifact, deployment)
        if is_installed:
            self.description.artifact_name = deployment.artifact_name
        return is_installed
