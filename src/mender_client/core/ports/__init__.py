"""The ports: what the workflow needs of the device and the network, as protocols.

``client`` uses only these; ``system`` and ``installers`` implement them; ``app.assemble`` joins the two. A test, or a
program that embeds the client, brings its own.
"""

from .device import Capacity, Clock, DeploymentLog, DeviceData, KeyStore, Observer
from .installing import GateConditions, Gates, Installer, Modules, Processes, ScriptDirectory, SubUpdater
from .network import Body, Transport
from .storage import ArtifactStore, Journal, Lock, PartialFile, RewrittenArtifact, Seed, Seeds

__all__ = [
    "ArtifactStore",
    "Body",
    "Capacity",
    "Clock",
    "DeploymentLog",
    "DeviceData",
    "GateConditions",
    "Gates",
    "Installer",
    "Journal",
    "KeyStore",
    "Lock",
    "Modules",
    "Observer",
    "PartialFile",
    "Processes",
    "RewrittenArtifact",
    "ScriptDirectory",
    "Seed",
    "Seeds",
    "SubUpdater",
    "Transport",
]
