"""The ports: what the workflow needs from the device and the network, as protocols.

``client`` uses only these; ``system`` and ``installers`` implement them; ``app.assemble`` connects the two. Tests and
programs that embed the client supply their own implementations.
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
