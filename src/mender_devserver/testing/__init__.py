"""The test bench: devices that are not there, for tests and rehearsals.

This room may use everything, and nothing uses it. It needs the extra ``devserver``.
"""

from mender_devserver.testing.directory import DirectoryDevice, Outcome
from mender_devserver.testing.virtual import VirtualDevice

__all__ = ["DirectoryDevice", "Outcome", "VirtualDevice"]
