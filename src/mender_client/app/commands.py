"""The commands of ``mender-python-client``, and how each is carried out. Each imports what it needs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from mender_client import TYPE_CHECKING, __version__
from mender_client.commandline import Argument, Command, OneOf, Part, Program

from .decision_commands import DECISIONS
from .exitcodes import ExitCode
from .loading import load, passphrase, paths_of, start

if TYPE_CHECKING:
    from pathlib import Path

    from mender_client.core.ports import DeviceData
    from mender_client.core.record import Record

    from .paths import Paths

PROGRAM = "mender-python-client"


def _daemon(options: argparse.Namespace) -> ExitCode:
    import os

    for name in ("log_file", "metrics_file"):  # the daemon changes its directory
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


def _connect(options: argparse.Namespace) -> ExitCode:
    config, paths = start(options)
    from .connect import run_connect

    return run_connect(config, paths, passphrase(options, paths), lambda: load(options, paths, is_server_needed=True))


def _dbus(options: argparse.Namespace) -> ExitCode:
    config, paths = start(options)
    from .dbus import run_dbus

    return run_dbus(config, paths, passphrase(options, paths))


def _gateway(options: argparse.Namespace) -> ExitCode:
    import os

    for name in ("log_file", "metrics_file"):  # the gateway changes its directory
        path = getattr(options, name)
        setattr(options, name, os.path.abspath(path) if path else None)
    config, paths = start(options, is_daemon=True)
    from pathlib import Path

    from .gateway.paths import devices_directory
    from .gateway.run import GatewayOptions, run_gateway

    return run_gateway(
        config,
        paths,
        GatewayOptions(
            devices=devices_directory(options.devices, paths.root),
            workers=options.workers,
            at_once=options.at_once,
            metrics_file=Path(options.metrics_file) if options.metrics_file else None,
        ),
        load=lambda: load(options, paths, is_server_needed=True, is_daemon=True),
    )


def _bootstrap(options: argparse.Namespace) -> ExitCode:
    config, paths = start(options, is_server_needed=False)
    from mender_client.core.devicekey import KeyType, fingerprint, key_type
    from mender_client.system.files import DaemonLock, make_directory

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


def _setup(options: argparse.Namespace) -> ExitCode:
    from .doctor import print_summary
    from .logs import set_up_logging
    from .setup.options import setup_options_of
    from .setup.run import set_up

    paths = paths_of(options)
    unlock = passphrase(options, paths)
    code = set_up(setup_options_of(options), paths, unlock, is_agreed=options.yes)
    if code is ExitCode.DONE and not options.image:  # whatever doctor finds: what was asked for is written
        set_up_logging(level=options.log_level or "critical", file=options.log_file, is_syslog_wanted=False)
        print_summary(paths, passphrase=unlock)
    return code


def _show_artifact(options: argparse.Namespace) -> ExitCode:
    from .standalone.installed import show_artifact

    return show_artifact(paths_of(options))


def _show_provides(options: argparse.Namespace) -> ExitCode:
    from .standalone.installed import show_provides

    return show_provides(paths_of(options), is_json=options.json)


def _install(options: argparse.Namespace) -> ExitCode:
    from .standalone.commands import install

    return install(options)


def _commit(options: argparse.Namespace) -> ExitCode:
    from .standalone.commands import commit

    return commit(options)


def _rollback(options: argparse.Namespace) -> ExitCode:
    from .standalone.commands import roll_back

    return roll_back(options)


def _resume(options: argparse.Namespace) -> ExitCode:
    from .standalone.commands import resume

    return resume(options)


def _show_inventory(options: argparse.Namespace) -> ExitCode:
    from .show import show_inventory

    return show_inventory(*_device(options), is_json=options.json)


def _show_identity(options: argparse.Namespace) -> ExitCode:
    from .show import show_identity

    return show_identity(_device(options)[0], is_json=options.json)


def _device(options: argparse.Namespace) -> tuple[DeviceData, Record]:
    """What the device says about itself, and what the client knows of it."""
    config, paths = start(options, is_server_needed=False)
    from mender_client.system.clock import SystemClock
    from mender_client.system.snapshot import peek_record

    from .observers import Observers
    from .parts import scripted_device

    return scripted_device(config, paths, SystemClock(), Observers()), peek_record(paths.journal)[0]


def _log(options: argparse.Namespace) -> ExitCode:
    config, paths = start(options, is_server_needed=False)
    from .parts import deployment_log
    from .show import show_log

    return show_log(deployment_log(config, paths), options.deployment)


def _report(options: argparse.Namespace) -> ExitCode:
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
    )


def _status(options: argparse.Namespace) -> ExitCode:
    if options.devices is not None and options.device is None:
        from .gateway.show import show_statuses

        return show_statuses(*_gateway_paths(options), is_json=options.json)
    from .status import follow_status, show_status

    return (follow_status if options.follow else show_status)(paths_of(options), is_json=options.json)


def _history(options: argparse.Namespace) -> ExitCode:
    if options.devices is not None and options.device is None:
        from .gateway.show import show_histories

        return show_histories(*_gateway_paths(options), is_json=options.json)
    from .history import show_history

    return show_history(paths_of(options), is_json=options.json)


def _doctor(options: argparse.Namespace) -> ExitCode:
    from .doctor import run_doctor
    from .logs import set_up_logging

    paths = paths_of(options)
    set_up_logging(level=options.log_level or "critical", file=options.log_file, is_syslog_wanted=False)
    if options.devices is not None and options.device is None:
        from .gateway.show import check_devices

        return check_devices(*_gateway_paths(options), passphrase(options, paths), is_json=options.json)
    return run_doctor(paths, passphrase=passphrase(options, paths), is_json=options.json)


def _gateway_paths(options: argparse.Namespace) -> tuple[Paths, Path]:
    """The gateway's own paths, and the directory in which its devices are described."""
    from .gateway.paths import devices_directory

    paths = paths_of(options)
    return paths, devices_directory(options.devices, paths.root)


def _check_update(options: argparse.Namespace) -> ExitCode:
    config, paths = start(options)
    from .requests import check_update

    return check_update(config, paths, passphrase(options, paths), is_waiting=options.wait)


def _send_inventory(options: argparse.Namespace) -> ExitCode:
    config, paths = start(options)
    from .requests import send_inventory

    return send_inventory(config, paths, passphrase(options, paths))


def _setup_arguments() -> Sequence[Part]:
    from .setup.options import ARGUMENTS

    return ARGUMENTS


def _install_arguments() -> Sequence[Part]:
    from .standalone.options import INSTALL

    return INSTALL


def _commit_arguments() -> Sequence[Part]:
    from .standalone.options import GO_ON

    return GO_ON


def _resume_arguments() -> Sequence[Part]:
    from .standalone.options import RESUME

    return RESUME


def _config_commands() -> Sequence[Part]:
    from .config.options import COMMANDS

    return COMMANDS


def _artifact_commands() -> Sequence[Part]:
    from .artifact.options import COMMANDS

    return COMMANDS


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 86400")
    return seconds


def _few(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 32")
    return int(text)


_JSON = Argument("--json", action="store_true", help="print JSON, for programs")

COMMANDS: tuple[Command, ...] = (
    Command(
        "daemon",
        "run the client: poll for updates, and install them",
        _daemon,
        (Argument("--metrics-file", metavar="FILE", help="keep metrics in this file, in the Prometheus text format"),),
    ),
    Command(
        "connect",
        "let users of the server open terminals here, and more",
        _connect,
        more="It runs until it is stopped, beside the daemon, and does what mender-connect.conf allows; without that "
        "file it does nothing. See the guide about remote access.",
    ),
    Command(
        "dbus",
        "give add-ons of other makers the authorisation of this device",
        _dbus,
        more="It runs until it is stopped, beside the daemon, and offers io.mender.AuthenticationManager on the system "
        "bus, as the C++ client does. See the guide about add-ons.",
    ),
    Command(
        "gateway",
        "run a device for each directory or entry in --devices",
        _gateway,
        (
            Argument(
                "--at-once",
                metavar="N",
                type=_few,
                default=4,
                help="how many devices are updated at once (default: 4); of a group one, unless Groups says otherwise",
            ),
            Argument(
                "--workers",
                metavar="N",
                type=_few,
                default=8,
                help="how many devices poll and send their inventory at once (default: 8)",
            ),
            Argument("--metrics-file", metavar="FILE", help="keep metrics of all devices in this file"),
        ),
        more="It runs until it is stopped. A device that is described while it runs is taken in, and one whose "
        "description is removed is let go. See the guide about gateways.",
    ),
    Command(
        "bootstrap",
        "generate the device key if there is none; print its public key",
        _bootstrap,
        (
            Argument(
                "--key-type",
                choices=("rsa", "ecdsa", "ed25519"),
                help="RSA of 3072 bits (default), ECDSA on P-256, or Ed25519; a key of another type is not replaced",
            ),
        ),
    ),
    Command("show-artifact", "print the name of the installed Artifact", _show_artifact),
    Command("show-provides", "print what the installed software provides", _show_provides, (_JSON,)),
    Command("install", "install an Artifact without a server", _install, _install_arguments),
    Command("commit", "commit the update that 'install' has installed", _commit, _commit_arguments),
    Command("rollback", "restore what was there before 'install'", _rollback, _commit_arguments),
    Command("resume", "continue an 'install' that was stopped or interrupted", _resume, _resume_arguments),
    Command("show-inventory", "print the inventory that would be sent", _show_inventory, (_JSON,)),
    Command("show-identity", "print the identity that would be sent", _show_identity, (_JSON,)),
    Command(
        "report",
        "report the outcome of an update (for sub-updaters)",
        _report,
        (
            OneOf(
                Argument("--success", action="store_true", help="the update is installed and committed"),
                Argument("--failure", action="store_true", help="the update failed; sends the deployment log too"),
                Argument("--rebooting", action="store_true", help="the device reboots now; the outcome follows later"),
                is_required=True,
            ),
            Argument("--reason", metavar="TEXT", default="", help="why it failed; goes into the deployment log"),
            Argument("--timeout", metavar="SECONDS", type=_seconds, default=60.0, help="how long to try (default: 60)"),
        ),
    ),
    Command(
        "check-update",
        "poll for an update now",
        _check_update,
        (
            Argument(
                "--wait",
                action="store_true",
                help="wait until the daemon has handed an update over to the sub-updater, or has found none",
            ),
        ),
        more="The daemon polls, and installs the update. Without a running daemon, the command asks the server whether "
        "there is an update, and installs nothing. With --wait, exit code 0 means that an update was handed over or is "
        "installed, 2 that there is none, and 1 that the poll or the update has failed.",
    ),
    Command(
        "send-inventory",
        "send the inventory now",
        _send_inventory,
        more="The daemon sends it, if it is running, otherwise the command itself.",
    ),
    *DECISIONS,
    Command(
        "status",
        "show what the client is doing and why",
        _status,
        (_JSON, Argument("-f", "--follow", action="store_true", help="keep showing the status, until Ctrl-C")),
    ),
    Command("history", "show the outcomes of the last deployments", _history, (_JSON,)),
    Command(
        "log",
        "print the log of the last deployment",
        _log,
        (
            Argument(
                "deployment",
                metavar="DEPLOYMENT",
                nargs="?",
                help="id of the deployment, or its first characters; only the log of the last one is stored",
            ),
        ),
    ),
    Command(
        "setup",
        "set up this device: configuration, device type, key, units",
        _setup,
        _setup_arguments,
    ),
    Command("doctor", "check this device, and show how to fix what is wrong", _doctor, (_JSON,)),
    Command("config", "check, show, change and explain the configuration", parts=_config_commands),
    Command("artifact", "show, verify, create and sign Artifact files", parts=_artifact_commands),
)
"""Every command, in the order of the help."""


def _log_level(text: str) -> str:
    from .logs import LEVELS

    if text.lower() not in LEVELS:
        raise argparse.ArgumentTypeError(f"unknown log level {text!r} (debug, info, warning, error or critical)")
    return text.lower()


COMMON = (
    Argument("-c", "--config", metavar="FILE", help="main configuration (default: /etc/mender/mender.conf)"),
    Argument(
        "--fallback-config", metavar="FILE", help="fallback configuration (default: mender.conf in the data directory)"
    ),
    Argument("-d", "--data", metavar="DIR", help="data directory (default: /var/lib/mender)"),
    Argument("--root", metavar="DIR", help="directory that all paths are below; for tests, containers and images"),
    Argument("--devices", metavar="DIR", help="where a gateway's devices are described (default: /etc/mender/devices)"),
    Argument("--device", metavar="NAME", help="a device of the gateway, instead of this machine"),
    Argument("-l", "--log-level", metavar="LEVEL", type=_log_level, help="debug, info, warning, error or critical"),
    Argument("-L", "--log-file", metavar="FILE", help="log to this file instead of standard error"),
    Argument(
        "--log-format", metavar="FORMAT", choices=("text", "json"), help="text (default), or json: one object a line"
    ),
    Argument("--no-syslog", action="store_true", help="don't log to syslog (the daemon does by default)"),
    Argument("--skipverify", action="store_true", help="trust every server; for a test bench only"),
    Argument("-F", "--forcebootstrap", action="store_true", help="replace the device key by a new one"),
    Argument(
        "--passphrase-file",
        metavar="FILE",
        help="file with the key's passphrase, or its token's PIN; - reads standard input",
    ),
)
"""The options of every command."""

CLIENT = Program(
    name=PROGRAM,
    description="Keeps a device up to date from a Mender server.",
    commands=COMMANDS,
    common=COMMON,
    epilog="exit codes: 0 done; 1 failed; 2 nothing to do, or nothing in progress; 4 reboot needed (install, resume);\n"
    "21 not yet (gate); 64 wrong usage; 75 kept for later (report); 78 wrong configuration",
    version=__version__,
)
