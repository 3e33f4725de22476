"""Gates: the points at which the device can hold an update, and the verdicts that it can give there.

The conditions of each point are configured with ``UpdateGates`` in ``mender.conf``. The caller stores what has to
survive a restart: approvals, and since when a gate has been closed.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from mender_client.dataclass import dataclass


class GatePoint(str, Enum):
    """The points at which an update can be held."""

    DOWNLOAD = "download"
    INSTALL = "install"
    REBOOT = "reboot"
    COMMIT = "commit"


@dataclass(frozen=True)
class GateFacts:
    """What a gate knows about the deployment on which it decides.

    Attributes:
        deployment_id: the id of the deployment.
        artifact_name: the name of its Artifact.
        is_approved: whether an operator has approved it for this point.
        closed_since: the ``since`` of the last verdict, if that was ``Closed``; aware, UTC.
    """

    deployment_id: str
    artifact_name: str
    is_approved: bool = False
    closed_since: datetime | None = None


@dataclass(frozen=True)
class Open:
    """The update proceeds."""


@dataclass(frozen=True)
class Closed:
    """The update waits.

    Attributes:
        reason: what it waits for, as a human-readable clause, such as "waiting for Mon-Fri 22:00-05:00".
        until: when to ask again (aware, UTC); None to ask with the next update poll.
        needs_approval: whether an operator has to approve it.
        since: when the deadline started to run; to be stored and passed to the next call. None while the clock is
            wrong.
    """

    reason: str
    until: datetime | None = None
    needs_approval: bool = False
    since: datetime | None = None


@dataclass(frozen=True)
class Refused:
    """The deployment fails.

    Attributes:
        reason: why, as a human-readable clause.
    """

    reason: str


Verdict = Open | Closed | Refused
