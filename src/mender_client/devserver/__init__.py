"""The rehearsal stage: a Mender server in one process, with faults on demand.

For the demo, for this project's tests, and for yours:

    from mender_client.devserver import DevServer

    with DevServer(directory, auto_accept=True) as server:
        server.upload("release-2.mender")
        deployment = server.deploy("release-2", [server.devices()[0].id])

It keeps to what a real open-source server was seen to answer. It is not made to stand in the open: no device is
turned away for its manners, and nothing is kept but Artifacts and the certificate.
"""

from mender_client.devserver.artifacts import Artifact
from mender_client.devserver.deployments import Deployment, DeviceDeployment
from mender_client.devserver.devices import AuthSet, Device
from mender_client.devserver.faults import Fault
from mender_client.devserver.record import Event, Exchange
from mender_client.devserver.server import DevServer
from mender_client.devserver.state import RateLimit

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
