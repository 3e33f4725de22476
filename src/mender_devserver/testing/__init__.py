"""Devices for tests: a directory with the client and a sub-updater, and a client in this process."""

from mender_devserver.testing.directory import DirectoryDevice, Outcome
from mender_devserver.testing.virtual import VirtualDevice

__all__ = ["DirectoryDevice", "Outcome", "VirtualDevice"]
