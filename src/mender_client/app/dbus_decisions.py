"""Operators' decisions about updates, as D-Bus methods that correspond to the commands ``pause`` to ``refuse``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from mender_client import TYPE_CHECKING
from mender_client.core.gates import GatePoint
from mender_client.dbus.objects import CallError, Interface, Method
from mender_client.errors import MenderError, NothingToDecideError

from .decide import parse_end, store, wake
from .paths import Paths

if TYPE_CHECKING:
    from mender_client.client.decisions import UpdateDecisions

_logger = logging.getLogger(__name__)

NAME = "io.mender.PythonClient.Updates1"
_BY = "root, on D-Bus"
_NOTHING = f"{NAME}.NothingToDecide"
_FAILED = "org.freedesktop.DBus.Error.Failed"
_INVALID = "org.freedesktop.DBus.Error.InvalidArgs"
_REASON, _ALL = ("reason", "s"), ("all", "b")
_GIVES = (("decided", "s"),)


def decisions_interface(paths: Paths) -> Interface:
    """The interface for one device.

    Args:
        paths: the device's files.
    """

    def decide(decision: Callable[[UpdateDecisions], str]) -> tuple[str]:
        try:
            text = store(paths, decision)
        except MenderError as error:
            raise CallError(_NOTHING if isinstance(error, NothingToDecideError) else _FAILED, str(error)) from error
        if (problem := wake(paths)) is not None:
            _logger.warning("%s", problem)
        return (text,)

    def pause(reason: str, is_all: bool) -> tuple[str]:
        return decide(lambda to: to.pause(_BY, reason, is_all=is_all))

    def resume(is_all: bool) -> tuple[str]:
        return decide(lambda to: to.resume(_BY, is_all=is_all))

    def approve(gate: str, reason: str, is_all: bool) -> tuple[str]:
        point = _point(gate)
        return decide(lambda to: to.approve(_BY, reason, point=point, is_all=is_all))

    def postpone(until: str, reason: str, is_all: bool) -> tuple[str]:
        end = _end(until)
        return decide(lambda to: to.postpone(end, _BY, reason, is_all=is_all))

    def refuse(reason: str, is_all: bool) -> tuple[str]:
        return decide(lambda to: to.refuse(_BY, reason, is_all=is_all))

    return Interface(
        NAME,
        [
            Method("Pause", (_REASON, _ALL), _GIVES, pause),
            Method("Continue", (_ALL,), _GIVES, resume),
            Method("Approve", (("gate", "s"), _REASON, _ALL), _GIVES, approve),
            Method("Postpone", (("until", "s"), _REASON, _ALL), _GIVES, postpone),
            Method("Refuse", (_REASON, _ALL), _GIVES, refuse),
        ],
    )


def _point(gate: str) -> GatePoint | None:
    """The gate with this name; None for an empty name, which means the gate at which the update waits."""
    try:
        return GatePoint(gate) if gate else None
    except ValueError as error:
        names = ", ".join(point.value for point in GatePoint)
        raise CallError(_INVALID, f"{gate!r:.40} is not a gate ({names})") from error


def _end(until: str) -> datetime:
    try:
        return parse_end(until[:100], datetime.now().astimezone())
    except (ValueError, OverflowError) as error:
        raise CallError(_INVALID, str(error)) from error
