"""The rehearsal stage: a Mender server in one process, with faults on demand.

For the demo, for this project's tests, and for yours:

    from mender_devserver import DevServer

    with DevServer(directory, auto_accept=True) as server:
        server.upload("release-2.mender")
        deployment_id = server.deploy("release-2")

It keeps to what a real open-source server was seen to answer. It isn't made to stand in the open, and it keeps
nothing but Artifacts and its certificate.

The names below are imported when they are used, so that the command line can say which extra is missing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mender_devserver.artifacts import Artifact
    from mender_devserver.deployments import Deployment, DeviceDeployment
    from mender_devserver.devices import AuthSet, Device
    from mender_devserver.faults import Fault
    from mender_devserver.ratelimit import RateLimit
    from mender_devserver.record import Event, Exchange
    from mender_devserver.server import DevServer

__all__ = [
    "Artifact",
    "AuthSet",
    "Deployment",
    "DevServer",
    "Device",
    "DeviceDeployment",
    "Event",
    "Exchange",
    "Fault",
    "RateLimit",
]

_HOMES = {
    "Artifact": "artifacts",
    "AuthSet": "devices",
    "Deployment": "deployments",
    "DevServer": "server",
    "Device": "devices",
    "DeviceDeployment": "deployments",
    "Event": "record",
    "Exchange": "record",
    "Fault": "faults",
    "RateLimit": "settings",
}


def __getattr__(name: str) -> object:
    """Import a public name at its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
