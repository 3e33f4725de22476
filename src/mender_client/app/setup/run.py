"""Carries out ``setup``: inspect, ask, show, write. A second run finds nothing to change."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from mender_client.app.config import load_config
from mender_client.app.devicekey import device_key, prepare_key
from mender_client.app.exitcodes import ExitCode
from mender_client.app.parts import own_program
from mender_client.app.paths import Paths
from mender_client.errors import Diagnostic, MenderError
from mender_client.system.files import make_directory
from mender_client.system.keys import Passphrase
from mender_client.system.locks import DaemonLock

from .existing_device import (
    CLIENT_UNIT,
    CONFIGURATION_UNIT,
    CONNECT_UNIT,
    DBUS_UNIT,
    SUB_UPDATER_UNIT,
    ExistingDevice,
)
from .planner import make_plan
from .setup_options import SetupOptions, agree, ask


def set_up(wanted: SetupOptions, paths: Paths, passphrase: Passphrase, *, is_agreed: bool) -> ExitCode:
    """Set up the device as requested.

    Returns:
        DONE when the device is set up; NOTHING when the user has declined; USAGE when there is no user to ask.

    Raises:
        ConfigError: the configuration has errors, or would have.
        MenderError: something is missing, or can't be read or written.
    """
    is_asking = not is_agreed and sys.stdin.isatty()
    if wanted.is_image and paths.root == Path("/"):
        raise MenderError("SET15", "cannot prepare an image: this is the running system", remedy="pass --root DIR")
    device = ExistingDevice(paths)
    if is_asking:
        wanted = ask(wanted, device)
    plan = make_plan(wanted, device, find_program=own_program)
    print("\n".join(plan.describe()), flush=True)
    if plan.is_empty:
        return ExitCode.DONE
    if is_asking and not agree("Write this?"):
        print("nothing was written")
        return ExitCode.NOTHING
    if not is_asking and not is_agreed:
        problem = Diagnostic("SET14", "nothing was written: standard input is not a terminal", "pass --yes")
        print(problem, file=sys.stderr)
        return ExitCode.USAGE
    make_directory(paths.data)
    plan.write()
    if plan.new_key is not None:
        make_directory(plan.new_key.parent)
        config = load_config(paths.config, paths.fallback_config).config
        prepare_key(device_key(config, paths, passphrase), paths)
    print("written")
    written = {change.path for change in plan.changes}
    units = [
        unit
        for unit in (CONFIGURATION_UNIT, SUB_UPDATER_UNIT, CLIENT_UNIT, CONNECT_UNIT, DBUS_UNIT)
        if unit in plan.packaged_units or device.unit(unit) in written
    ]
    for step in next_steps(paths.root, DaemonLock(paths.daemon_lock).holder(), units):
        print(f"next: {step}")
    return ExitCode.DONE


def next_steps(root: Path, daemon_pid: int | None, units: Sequence[str]) -> list[str]:
    """The steps that are left to do.

    Args:
        root: the root directory of the device.
        daemon_pid: the process id of the daemon; None if it is not running.
        units: the units that have been written, or come from a package.
    """
    steps = [] if daemon_pid is None else [f"restart the daemon (pid {daemon_pid}), which still uses the old settings"]
    if units and root != Path("/"):
        steps.append(f"systemctl --root={root} enable {' '.join(units)}")
    elif units:
        # the other units are for the next boot
        now = {CLIENT_UNIT: "--now ", CONNECT_UNIT: "--now ", DBUS_UNIT: "--now "}
        enabled = [f"systemctl enable {now.get(unit, '')}{unit}" for unit in units]
        steps.append(" && ".join(["systemctl daemon-reload", *enabled]))
    return steps
