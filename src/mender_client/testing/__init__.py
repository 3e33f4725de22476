"""The test bench: devices that are not there, for tests and rehearsals.

This room may use everything, and nothing uses it. It needs the extra ``devserver``.
"""

from mender_client.testing.folder import FolderDevice, Outcome
from mender_client.testing.virtual import VirtualDevice

__all__ = ["FolderDevice", "Outcome", "VirtualDevice"]
