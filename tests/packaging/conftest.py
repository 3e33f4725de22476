"""The server of the program's tests serves the installed program as well.

This directory is no package on purpose: as one it would hide the distribution ``packaging`` that pytest itself uses.
"""

from program.conftest import certificate_directory, make_device, server

__all__ = ["certificate_directory", "make_device", "server"]
