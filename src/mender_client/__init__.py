"""A Mender client: authenticates a device, downloads and verifies updates, has them installed, and reports the outcome.

This is the public API for programs that embed the client; everything else may change without notice:

    from mender_client import Client, DeviceDescription

    device = DeviceDescription(identity={"serial": "1234"}, device_type="board-1", artifact_name="release-1")
    with Client({"ServerURL": "https://mender.example.com"}, data="data", device=device) as client:
        client.authorise()
        client.send_inventory()

The names are imported on first use, so that printing the version takes no time.
"""

from __future__ import annotations

TYPE_CHECKING = False  # True for type checkers; importing typing would take a third of the time of --version

if TYPE_CHECKING:
    from .app.artifact.payload import Artifact
    from .app.update_module import StreamedFile, UpdateModule
    from .core.gates import GatePoint
    from .core.holding import Waiting
    from .core.machine import State
    from .core.model import Deployment
    from .embedding.callbacks import ProgressFunction, StateFunction
    from .embedding.client import Client
    from .embedding.description import AttributeValue, DeviceDescription
    from .embedding.gateway import Gateway
    from .errors import (
        ArtifactError,
        BusyError,
        ConfigError,
        DeviceError,
        Diagnostic,
        ErrorKind,
        Interrupted,
        KeyFileError,
        MenderError,
        NetworkError,
        NotAcceptedError,
        NothingToDecideError,
        ServerError,
        StorageError,
        UsageError,
    )
    from .installers.callback import InstallFunction

__version__ = "1.0.0"
RELEASED = "2026-11-23"
"""The release date of this version; a clock that shows an earlier date is wrong."""

__all__ = [
    "Artifact",
    "ArtifactError",
    "AttributeValue",
    "BusyError",
    "Client",
    "ConfigError",
    "Deployment",
    "DeviceDescription",
    "DeviceError",
    "Diagnostic",
    "ErrorKind",
    "GatePoint",
    "Gateway",
    "InstallFunction",
    "Interrupted",
    "KeyFileError",
    "MenderError",
    "NetworkError",
    "NotAcceptedError",
    "NothingToDecideError",
    "ProgressFunction",
    "ServerError",
    "State",
    "StateFunction",
    "StorageError",
    "StreamedFile",
    "UpdateModule",
    "UsageError",
    "Waiting",
    "__version__",
]

_HOMES = {
    "Artifact": "app.artifact.payload",
    "AttributeValue": "embedding.description",
    "Client": "embedding.client",
    "Deployment": "core.model",
    "DeviceDescription": "embedding.description",
    "GatePoint": "core.gates",
    "Gateway": "embedding.gateway",
    "InstallFunction": "installers.callback",
    "ProgressFunction": "embedding.callbacks",
    "State": "core.machine",
    "StateFunction": "embedding.callbacks",
    "StreamedFile": "app.update_module",
    "UpdateModule": "app.update_module",
    "Waiting": "core.holding",
}


def __getattr__(name: str) -> object:
    """Import a public name on first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
