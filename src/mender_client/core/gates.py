"""Gates: the points of an update at which the device may have a say, and what it can say there.

What is configured for a point decides (``UpdateGates`` in ``mender.conf``); who asks stores what has to survive a
restart: approvals, and since when a gate is closed.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from mender_client.dataclass import dataclass


class GatePoint(str, Enum):
    """Where an update can be held."""

    DOWNLOAD = "download"
    INSTALL = "install"
    REBOOT = "reboot"
    COMMIT = "commit"


@dataclass(frozen=True)
class GateFacts:
    """What a gate is told about the deployment in front of it.

    Attributes:
        deployment_id: the deployment.
        artifact_name: the name of its Artifact.
        is_approved: an operator has approved it for this point.
        closed_since: the ``since`` of the last answer, if that was ``Closed``; aware, UTC.
    """

    deployment_id: str
    artifact_name: str
    is_approved: bool = False
    closed_since: datetime | None = None


@dataclass(frozen=True)
class Open:
    """The update goes on."""


@dataclass(frozen=True)
class Closed:
    """The update waits.

    Attributes:
        reason: what for, as a clause for people, such as "waiting for Mon-Fri 22:00-05:00".
        until: when to ask again; None: with the next update poll. Aware, UTC.
        needs_approval: an operator has to approve it.
        since: from when on the deadline counts; to be stored and given back. None while the clock is wrong.
    """

    reason: str
    until: datetime | None = None
    needs_approval: bool = False
    since: datetime | None = None


@dataclass(frozen=True)
class Refused:
    """The deployment fails.

    Attributes:
        reason: why, as a clause for people.
    """

    reason: str


Verdict = Open | Closed | Refused
