"""``show-identity``, ``show-inventory`` and ``log``: what this device reports to the server, and a deployment's log."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from mender_client import TYPE_CHECKING, __version__
from mender_client.core.text import printable

from .exitcodes import ExitCode

if TYPE_CHECKING:
    from mender_client.core.ports import DeviceData
    from mender_client.core.record import Record
    from mender_client.system.deploymentlog import DeploymentLogFile

_LONGEST_LINE = 4000
_Values = Mapping[str, "str | list[str]"]


def show_inventory(device: DeviceData, record: Record, *, is_json: bool) -> ExitCode:
    """Print the inventory that would be sent.

    Raises:
        MenderError: it can't be collected.
    """
    from mender_client.client.inventory import collect_inventory

    attributes, _ = collect_inventory(device, record, version=__version__)
    values = {one.name: one.value if isinstance(one.value, str) else list(one.value) for one in attributes}
    return _print(values, is_json=is_json)


def show_identity(device: DeviceData, *, is_json: bool) -> ExitCode:
    """Print the identity that would be sent.

    Raises:
        MenderError: the identity script can't be used.
    """
    return _print(json.loads(device.identity().id_data), is_json=is_json)


def show_log(log: DeploymentLogFile, wanted: str | None) -> ExitCode:
    """Print what is on disk of the log of a deployment.

    Args:
        log: the log of the last deployment.
        wanted: the deployment's id, or its first characters; None for the last deployment.

    Returns:
        NOTHING when there is no such log.
    """
    recorded = log.recorded_id()
    if recorded is None:
        print("no deployment was logged on this device")
        return ExitCode.NOTHING
    if wanted is not None and not recorded.startswith(wanted):
        print(f"there is no log of deployment {wanted}: only the last one is kept, which is of {recorded}")
        return ExitCode.NOTHING
    for message in log.messages(recorded):
        time = message.timestamp.strftime("%Y-%m-%dT%H:%M:%SZ")
        print(f"{time} {message.level.upper():7} {printable(message.message, limit=_LONGEST_LINE)}")
    return ExitCode.DONE


def _print(values: _Values, *, is_json: bool) -> ExitCode:
    if is_json:
        print(json.dumps(values, indent=1))
        return ExitCode.DONE
    for line in _lines(values):
        print(printable(line, limit=_LONGEST_LINE))
    return ExitCode.DONE


def _lines(values: _Values) -> Iterable[str]:
    for key, value in values.items():
        yield from (f"{key}={one}" for one in ([value] if isinstance(value, str) else value))
