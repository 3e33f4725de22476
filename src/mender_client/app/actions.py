"""The actions of the commands of ``mender-python-client``. Each imports only what it needs."""

from __future__ import annotations

import sys

from mender_client import TYPE_CHECKING
from mender_client.commandline import Options

from .command import PROGRAM, command_of
from .exitcodes import ExitCode
from .loading import load, passphrase, paths_of, start

if TYPE_CHECKING:
    from pathlib import Path

    from mender_client.core.ports import DeviceData
    from mender_client.core.record import Record

    from .paths import Paths


def daemon(options: Options) -> ExitCode:
    import os

    for name in ("log_file", "metrics_file"):  # the daemon changes its working directory
        path = getattr(options, name)
        setattr(options, name, os.path.abspath(path) if path else None)
    config, paths = start(options, is_daemon=True)
    from .daemon import end_process, run_daemon
    from .observers import make_observers

    code = run_daemon(
        config,
        paths,
        load=lambda: load(options, paths, is_server_needed=True, is_daemon=True),
        make_observers=lambda: make_observers(paths, os.environ, pid=os.getpid(), metrics_file=options.metrics_file),
        is_new_key_wanted=options.forcebootstrap,
        is_watched=options.log_file is None and sys.stderr.isatty(),
        passphrase=passphrase(options, paths),
    )
    end_process(code)


def connect(options: Options) -> ExitCode:
    config, paths = start(options)
    from .connect import run_connect

    return run_connect(config, paths, passphrase(options, paths), lambda: load(options, paths, is_server_needed=True))


def dbus(options: Options) -> ExitCode:
    config, paths = start(options)
    from .dbus import run_dbus

    return run_dbus(config, paths, passphrase(options, paths), lambda: load(options, paths, is_server_needed=True))


def gateway(options: Options) -> ExitCode:
    import os

    for name in ("log_file", "metrics_file"):  # the gateway changes its working directory
        path = getattr(options, name)
        setattr(options, name, os.path.abspath(path) if path else None)
    config, paths = start(options, is_daemon=True)
    from .gateway.paths import devices_directory
    from .gateway.run import GatewayOptions, run_gateway

    return run_gateway(
        config,
        paths,
        GatewayOptions(
            devices=devices_directory(options.devices, paths.root),
            workers=options.workers,
            at_once=options.at_once,
            metrics_file=paths.below_root(options.metrics_file) if options.metrics_file else None,
        ),
        load=lambda: load(options, paths, is_server_needed=True, is_daemon=True),
    )


def bootstrap(options: Options) -> ExitCode:
    config, paths = start(options, is_server_needed=False)
    from mender_client.core.devicekey import KeyType, fingerprint, key_type
    from mender_client.system.files import make_directory
    from mender_client.system.locks import DaemonLock

    from .devicekey import device_key, prepare_key

    make_directory(paths.data)
    key = device_key(config, paths, passphrase(options, paths))
    wanted = KeyType(options.key_type) if options.key_type else None
    is_new = prepare_key(key, paths, is_forced=options.forcebootstrap, kind=wanted)
    public = key.public_key_pem()
    kind = key_type(public)
    print(public, end="")
    print(
        f"{PROGRAM}: {'generated a new device key' if is_new else 'the device key already exists'} "
        f"({kind.title if kind else ''}, SHA-256 {fingerprint(public)})",
        file=sys.stderr,
    )
    if is_new and (pid := DaemonLock(paths.daemon_lock).holder()) is not None:
        print(f"{PROGRAM}: restart the daemon (pid {pid}) and accept the new key on the server", file=sys.stderr)
    return ExitCode.DONE


def setup(options: Options) -> ExitCode:
    from .doctor import print_summary
    from .logs import set_up_logging
    from .setup.options import setup_options_of
    from .setup.run import set_up

    paths = paths_of(options)
    unlock = passphrase(options, paths)
    code = set_up(setup_options_of(options), paths, unlock, is_agreed=options.yes)
    if code is ExitCode.DONE and not options.image:  # the findings of doctor do not change the exit code
        set_up_logging(level=options.log_level or "critical", file=options.log_file, is_syslog_wanted=False)
        print_summary(paths, passphrase=unlock, command=command_of(options))
    return code


def show_artifact(options: Options) -> ExitCode:
    from .standalone.installed import show_artifact

    return show_artifact(paths_of(options))


def show_provides(options: Options) -> ExitCode:
    from .standalone.installed import show_provides

    return show_provides(paths_of(options), is_json=options.json)


def install(options: Options) -> ExitCode:
    from .standalone.commands import install

    return install(options)


def commit(options: Options) -> ExitCode:
    from .standalone.commands import commit

    return commit(options)


def rollback(options: Options) -> ExitCode:
    from .standalone.commands import roll_back

    return roll_back(options)


def resume(options: Options) -> ExitCode:
    from .standalone.commands import resume

    return resume(options)


def show_inventory(options: Options) -> ExitCode:
    from .show import show_inventory

    return show_inventory(*_device(options), is_json=options.json)


def show_identity(options: Options) -> ExitCode:
    from .show import show_identity

    return show_identity(_device(options)[0], is_json=options.json)


def _device(options: Options) -> tuple[DeviceData, Record]:
    """The device as its scripts and files describe it, and the content of the state file."""
    config, paths = start(options, is_server_needed=False)
    from mender_client.system.clock import SystemClock
    from mender_client.system.snapshot import peek_record

    from .observers import Observers
    from .parts import scripted_device

    return scripted_device(config, paths, SystemClock(), Observers()), peek_record(paths.journal)[0]


def log(options: Options) -> ExitCode:
    config, paths = start(options, is_server_needed=False)
    from .parts import deployment_log
    from .show import show_log

    return show_log(deployment_log(config, paths), options.deployment)


def report(options: Options) -> ExitCode:
    import os

    from mender_client.core.model import Status

    from .report import report

    if options.device is None and "MENDER_DEVICE" in os.environ:
        from .gateway.select import take_reporter

        take_reporter(options, os.environ)
    paths = paths_of(options)
    return report(
        lambda: load(options, paths, is_server_needed=True),
        paths,
        status=Status.SUCCESS if options.success else Status.FAILURE if options.failure else Status.REBOOTING,
        reason=options.reason,
        reporter_deployment_id=os.environ.get("MENDER_DEPLOYMENT_ID", ""),
        timeout_seconds=options.timeout,
        passphrase=passphrase(options, paths),
        command=command_of(options),
    )


def status(options: Options) -> ExitCode:
    if options.devices is not None and options.device is None:
        from .gateway.show import show_statuses

        return show_statuses(*_gateway_paths(options), is_json=options.json)
    from .show_status import follow_status, show_status

    show = follow_status if options.follow else show_status
    return show(paths_of(options), is_json=options.json, command=command_of(options))


def history(options: Options) -> ExitCode:
    if options.devices is not None and options.device is None:
        from .gateway.show import show_histories

        return show_histories(*_gateway_paths(options), is_json=options.json)
    from .history import show_history

    return show_history(paths_of(options), is_json=options.json)


def doctor(options: Options) -> ExitCode:
    from .doctor import run_doctor
    from .logs import set_up_logging

    paths = paths_of(options)
    set_up_logging(level=options.log_level or "critical", file=options.log_file, is_syslog_wanted=False)
    if options.devices is not None and options.device is None:
        from .gateway.show import check_devices

        return check_devices(
            *_gateway_paths(options), passphrase(options, paths), is_json=options.json, command=command_of(options)
        )
    return run_doctor(paths, passphrase=passphrase(options, paths), is_json=options.json, command=command_of(options))


def _gateway_paths(options: Options) -> tuple[Paths, Path]:
    """The gateway's own paths, and the directory that contains the descriptions of its devices."""
    from .gateway.paths import devices_directory

    paths = paths_of(options)
    return paths, devices_directory(options.devices, paths.root)


def check_update(options: Options) -> ExitCode:
    config, paths = start(options)
    from .requests import check_update

    return check_update(config, paths, passphrase(options, paths), is_waiting=options.wait)


def send_inventory(options: Options) -> ExitCode:
    config, paths = start(options)
    from .requests import send_inventory

    return send_inventory(config, paths, passphrase(options, paths))
