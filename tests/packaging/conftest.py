"""The server of the program's tests serves the installed program as well.

This folder is no package on purpose: as one it would hide the distribution ``packaging`` that pytest itself uses.
"""

from program.conftest import certificate_folder, make_device, server

__all__ = ["certificate_folder", "make_device", "server"]
