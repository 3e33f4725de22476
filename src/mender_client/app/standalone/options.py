"""The arguments of the standalone commands, with the same names as in mender-update."""

from __future__ import annotations

from mender_client.commandline import Argument, Part
from mender_client.core.standalone import STOPS

_STOP = Argument(
    "--stop-before",
    metavar="STATE",
    action="append",
    default=[],
    choices=tuple(STOPS.values()),
    help=f"stop before this state, to be resumed later; can be given several times: {', '.join(STOPS.values())}",
)
_REBOOT = Argument(
    "--reboot-exit-code", action="store_true", help="exit with 4 when all went well and the device must be rebooted"
)

INSTALL: tuple[Part, ...] = (
    Argument("artifact", metavar="FILE|URL", help="the Artifact, a file or an http(s) address; - reads standard input"),
    _REBOOT,
    _STOP,
)
RESUME: tuple[Part, ...] = (_REBOOT, _STOP)
GO_ON: tuple[Part, ...] = (_STOP,)
"""The arguments of ``commit`` and ``rollback``."""
