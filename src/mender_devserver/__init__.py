"""A Mender server in one process, for demos and tests, with fault injection:

    from mender_devserver import DevServer

    with DevServer(directory, auto_accept=True) as server:
        server.upload("release-2.mender")
        deployment_id = server.deploy("release-2")

Its replies follow recordings of an open-source Mender server. Only Artifacts and the certificate are kept on disk;
everything else is lost when the process ends. It must not be reachable from a network that you don't trust.

The names below are imported on first use, so that the command line starts without aiohttp.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mender_devserver.activity import Event, Exchange
    from mender_devserver.artifacts import Artifact
    from mender_devserver.deployments import Deployment, DeviceDeployment
    from mender_devserver.devices import AuthSet, KnownDevice
    from mender_devserver.faults import Fault
    from mender_devserver.ratelimit import RateLimit
    from mender_devserver.server import DevServer

__all__ = [
    "Artifact",
    "AuthSet",
    "Deployment",
    "DevServer",
    "DeviceDeployment",
    "Event",
    "Exchange",
    "Fault",
    "KnownDevice",
    "RateLimit",
]

_HOMES = {
    "Artifact": "artifacts",
    "AuthSet": "devices",
    "Deployment": "deployments",
    "DevServer": "server",
    "KnownDevice": "devices",
    "DeviceDeployment": "deployments",
    "Event": "activity",
    "Exchange": "activity",
    "Fault": "faults",
    "RateLimit": "ratelimit",
}


def __getattr__(name: str) -> object:
    """Import a public name on its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
