"""The exit codes of ``mender-python-client``, which are documented and stable."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes."""

    DONE = 0
    FAILED = 1
    NOTHING = 2
    REBOOT = 4
    LATER = 21
    USAGE = 64
    KEPT = 75
    CONFIGURATION = 78
