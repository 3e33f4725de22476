"""Carries out ``setup``: inspect, ask, show, write. A second run finds nothing to change."""

from __future__ import annotations

import sys
from pathlib import Path

from mender_client.app.assemble import own_program
from mender_client.app.config import load_config
from mender_client.app.devicekey import device_key, prepare_key
from mender_client.app.exitcodes import ExitCode
from mender_client.app.paths import Paths
from mender_client.errors import Diagnostic
from mender_client.system.files import DaemonLock, make_directory
from mender_client.system.keys import Passphrase

from .existing_device import CLIENT_UNIT, ExistingDevice
from .plan import Plan
from .planner import make_plan
from .setup_options import SetupOptions, agree, ask


def set_up(wanted: SetupOptions, paths: Paths, passphrase: Passphrase, *, is_agreed: bool) -> ExitCode:
    """Set up the device as requested.

    Returns:
        DONE when the device is set up; NOTHING when the user declined; USAGE when nobody can be asked.

    Raises:
        ConfigError: the configuration has faults, or would have.
        MenderError: something is missing, or can't be read or written.
    """
    is_asking = not is_agreed and sys.stdin.isatty()
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
    _tell_next_steps(plan, device)
    return ExitCode.DONE


def _tell_next_steps(plan: Plan, device: ExistingDevice) -> None:
    pid = DaemonLock(device.paths.daemon_lock).holder()
    if pid is not None:
        print(f"next: restart the daemon (pid {pid}), which still uses the old settings")
    elif device.paths.root == Path("/") and any(change.path == device.unit(CLIENT_UNIT) for change in plan.changes):
        print(f"next: systemctl daemon-reload && systemctl enable --now {CLIENT_UNIT}")
