"""Test support: a device in a directory, a device in this process, and checks of update modules."""

from mender_devserver.testing.directory import DirectoryDevice, Outcome
from mender_devserver.testing.modules import ModuleUnderTest, Trouble, Walk
from mender_devserver.testing.virtual import VirtualDevice

__all__ = ["DirectoryDevice", "ModuleUnderTest", "Outcome", "Trouble", "VirtualDevice", "Walk"]
