"""The server of the program's tests serves the installed program as well; the release is built once.

This directory is no package on purpose: as one it would hide the distribution ``packaging`` that pytest itself uses.
"""

from program.conftest import certificate_directory, make_device, server
from release import devserver_wheel, release, wheel

__all__ = ["certificate_directory", "devserver_wheel", "make_device", "release", "server", "wheel"]
