"""Devices for tests: a directory with the client and a sub-updater, and a client in this process; update modules."""

from mender_devserver.testing.directory import DirectoryDevice, Outcome
from mender_devserver.testing.modules import ModuleUnderTest, Trouble, Walk
from mender_devserver.testing.virtual import VirtualDevice

__all__ = ["DirectoryDevice", "ModuleUnderTest", "Outcome", "Trouble", "VirtualDevice", "Walk"]
