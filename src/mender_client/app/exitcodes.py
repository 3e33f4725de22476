"""The exit codes of ``mender-python-client``: documented, stable, for scripts to rely on."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What an exit code says."""

    DONE = 0
    FAILED = 1
    NOTHING = 2
    USAGE = 64
    KEPT = 75
    CONFIGURATION = 78
