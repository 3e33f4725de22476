"""The commands of ``mender-python-client``: each with its options, and what it does. Each imports what it needs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mender_client.errors import MenderError

from .exitcodes import ExitCode

if TYPE_CHECKING:
    from mender_client.system.keys import Passphrase

    from .config import Config
    from .paths import Paths

PROGRAM = "mender-python-client"

AddOptions = Callable[[argparse.ArgumentParser, dict[str, Any]], None]
"""Adds options to a command's parser; also gets what the parsers of its own commands must be made with."""


@dataclass(frozen=True, slots=True)
class Verb:
    """A command.

    Attributes:
        name: as it is typed.
        help: what it does.
        run: does it.
        add_options: gives its parser the options.
    """

    name: str
    help: str
    run: Callable[[argparse.Namespace], ExitCode]
    add_options: AddOptions = lambda parser, common: None  # noqa: ARG005


def _daemon_options(parser: argparse.ArgumentParser, _: dict[str, Any]) -> None:
    parser.add_argument("--metrics-file", metavar="FILE", help="keep figures in this file, in the form of Prometheus")


def _bootstrap_options(parser: argparse.ArgumentParser, _: dict[str, Any]) -> None:
    parser.add_argument(
        "--key-type",
        choices=("rsa", "ecdsa", "ed25519"),
        help="RSA of 3072 bits (default), ECDSA on P-256, or Ed25519; a key of another type is not replaced",
    )


def _report_options(parser: argparse.ArgumentParser, _: dict[str, Any]) -> None:
    outcome = parser.add_mutually_exclusive_group(required=True)
    outcome.add_argument("--success", action="store_true", help="the update is installed and committed")
    outcome.add_argument("--failure", action="store_true", help="the update failed; sends the deployment log too")
    parser.add_argument("--reason", metavar="TEXT", default="", help="why it failed; goes into the deployment log")
    parser.add_argument(
        "--timeout", metavar="SECONDS", type=_seconds, default=60.0, help="how long to try (default: 60)"
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds between 0 and 86400")
    return seconds


def _json_option(parser: argparse.ArgumentParser, _: dict[str, Any]) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def _status_options(parser: argparse.ArgumentParser, common: dict[str, Any]) -> None:
    _json_option(parser, common)
    parser.add_argument("-f", "--follow", action="store_true", help="show it again and again, until Ctrl-C")


def _setup_options(parser: argparse.ArgumentParser, _: dict[str, Any]) -> None:
    from .setup.options import add_options

    add_options(parser)


def _config_commands(parser: argparse.ArgumentParser, common: dict[str, Any]) -> None:
    from .config.options import add_commands

    add_commands(parser, common, _paths)


def _artifact_commands(parser: argparse.ArgumentParser, common: dict[str, Any]) -> None:
    from .artifact.options import add_commands

    add_commands(parser, common)


def _paths(options: argparse.Namespace) -> Paths:
    from .paths import Paths

    return Paths.locate(
        root=options.root, config=options.config, fallback_config=options.fallback_config, data=options.data
    )


def _start(
    options: argparse.Namespace, *, is_server_needed: bool = True, is_daemon: bool = False
) -> tuple[Config, Paths]:
    """Load the configuration and set up logging."""
    paths = _paths(options)
    return _load(options, paths, is_server_needed=is_server_needed, is_daemon=is_daemon), paths


def _load(options: argparse.Namespace, paths: Paths, *, is_server_needed: bool, is_daemon: bool) -> Config:
    import logging

    from .config import load_config
    from .file_checks import check_configuration_files, check_files
    from .lean import load_urllib3
    from .logs import set_up_logging
    from .startup import reset_inherited_state

    load_urllib3()  # before anything imports it
    check_configuration_files(paths)
    reset_inherited_state()
    loaded = load_config(paths.config, paths.fallback_config, is_server_needed=is_server_needed)
    set_up_logging(
        level=options.log_level or loaded.config.daemon_log_level,
        file=options.log_file,
        is_syslog_wanted=is_daemon and not options.no_syslog,
        is_json=options.log_format == "json",
    )
    for warning in (*loaded.warnings, *check_files(loaded.config, paths, options.passphrase_file)):
        logging.getLogger(__name__).warning("%s", warning)
    return replace(loaded.config, skip_verify=True) if options.skipverify else loaded.config


def _passphrase(options: argparse.Namespace, paths: Paths) -> Passphrase:
    from .passphrase import passphrase_of

    return passphrase_of(options.passphrase_file, paths)


def _daemon(options: argparse.Namespace) -> ExitCode:
    import os

    for name in ("log_file", "metrics_file"):  # the daemon changes its directory
        path = getattr(options, name)
        setattr(options, name, os.path.abspath(path) if path else None)
    config, paths = _start(options, is_daemon=True)
    from .daemon import run_daemon
    from .observers import make_observers

    return run_daemon(
        config,
        paths,
        load=lambda: _load(options, paths, is_server_needed=True, is_daemon=True),
        make_observers=lambda: make_observers(paths, os.environ, pid=os.getpid(), metrics_file=options.metrics_file),
        is_new_key_wanted=options.forcebootstrap,
        is_watched=options.log_file is None and sys.stderr.isatty(),
        passphrase=_passphrase(options, paths),
    )


def _bootstrap(options: argparse.Namespace) -> ExitCode:
    config, paths = _start(options, is_server_needed=False)
    from mender_client.core.devicekey import KeyType, fingerprint, key_type
    from mender_client.system.files import DaemonLock, make_directory

    from .devicekey import device_key, prepare_key

    make_directory(paths.data)
    key = device_key(config, paths, _passphrase(options, paths))
    wanted = KeyType(options.key_type) if options.key_type else None
    is_new = prepare_key(key, paths, is_forced=options.forcebootstrap, kind=wanted)
    public = key.public_key_pem()
    kind = key_type(public)
    print(public, end="")
    print(
        f"{PROGRAM}: {'made a new' if is_new else 'kept the'} device key "
        f"({kind.title if kind else ''}, SHA-256 {fingerprint(public)})",
        file=sys.stderr,
    )
    if is_new and (pid := DaemonLock(paths.daemon_lock).holder()) is not None:
        print(f"{PROGRAM}: restart the daemon (pid {pid}), and accept the new key on the server", file=sys.stderr)
    return ExitCode.DONE


def _setup(options: argparse.Namespace) -> ExitCode:
    from .doctor import give_verdict
    from .logs import set_up_logging
    from .setup.options import setup_options_of
    from .setup.run import set_up

    paths = _paths(options)
    passphrase = _passphrase(options, paths)
    code = set_up(setup_options_of(options), paths, passphrase, is_agreed=options.yes)
    if code is ExitCode.DONE:  # whatever the verdict says: what was asked for is written
        set_up_logging(level=options.log_level or "critical", file=options.log_file, is_syslog_wanted=False)
        give_verdict(paths, passphrase=passphrase)
    return code


def _show_artifact(options: argparse.Namespace) -> ExitCode:
    from mender_client.core.keyvalue import parse_key_values
    from mender_client.system.files import read_text

    path = _paths(options).artifact_info
    for key, value in parse_key_values(read_text(path)).pairs:
        if key.strip() == "artifact_name" and value.strip():
            print(value.strip())
            return ExitCode.DONE
    raise MenderError(f"cannot find the artifact name: {path} has no line artifact_name=NAME")


def _report(options: argparse.Namespace) -> ExitCode:
    config, paths = _start(options)
    from .report import report

    return report(
        config,
        paths,
        is_success=options.success,
        reason=options.reason,
        timeout_seconds=options.timeout,
        passphrase=_passphrase(options, paths),
    )


def _status(options: argparse.Namespace) -> ExitCode:
    from .status import follow_status, show_status

    return (follow_status if options.follow else show_status)(_paths(options), is_json=options.json)


def _history(options: argparse.Namespace) -> ExitCode:
    from .history import show_history

    return show_history(_paths(options), is_json=options.json)


def _doctor(options: argparse.Namespace) -> ExitCode:
    from .doctor import run_doctor
    from .logs import set_up_logging

    paths = _paths(options)
    set_up_logging(level=options.log_level or "critical", file=options.log_file, is_syslog_wanted=False)
    return run_doctor(paths, passphrase=_passphrase(options, paths), is_json=options.json)


def _check(options: argparse.Namespace) -> ExitCode:
    import signal

    config, paths = _start(options)
    from mender_client.system.files import LockFile

    current = LockFile(paths.update_lock).read()
    if current is not None:
        print(f"deployment {current or '(unknown)'} is being installed by the sub-updater; no poll until it ends")
        return ExitCode.NOTHING
    if _wake_daemon(paths, signal.SIGUSR1, "polls"):
        return ExitCode.DONE
    from .assemble import assemble
    from .devicekey import device_key

    world = assemble(config, paths, key=device_key(config, paths, _passphrase(options, paths)))
    update = world.journal.load().update
    if update is None:
        offer = world.deployments.next(world.device.provides())
    else:
        offer = world.deployments.next(update.provides, update.form)
    if offer is None:
        print("no update")
        return ExitCode.NOTHING
    deployment = offer.deployment
    print(f"update available: {deployment.artifact_name} (deployment {deployment.id}); start the daemon to install it")
    return ExitCode.DONE


def _send_inventory(options: argparse.Namespace) -> ExitCode:
    import signal

    config, paths = _start(options)
    if _wake_daemon(paths, signal.SIGUSR2, "sends the inventory"):
        return ExitCode.DONE
    from .assemble import assemble
    from .devicekey import device_key

    key = device_key(config, paths, _passphrase(options, paths))
    assemble(config, paths, key=key).inventory.send(even_if_unchanged=True)
    print("inventory sent")
    return ExitCode.DONE


def _wake_daemon(paths: Paths, number: int, what: str) -> bool:
    import os

    from mender_client.system.files import DaemonLock

    pid = DaemonLock(paths.daemon_lock).holder()
    if pid is None:
        return False
    try:
        os.kill(pid, number)
    except OSError as error:
        raise MenderError(f"cannot wake the daemon (pid {pid}): {error.strerror}; run this as its user") from error
    print(f"the daemon (pid {pid}) {what} now")
    return True


def _no_command(_: argparse.Namespace) -> ExitCode:
    raise AssertionError("argparse demands a command")


VERBS: tuple[Verb, ...] = (
    Verb("daemon", "run the client: authorise, send inventory, poll, download and hand over", _daemon, _daemon_options),
    Verb(
        "bootstrap",
        "make the device key unless there is one, and print its public key",
        _bootstrap,
        _bootstrap_options,
    ),
    Verb("show-artifact", "print the name of the installed Artifact", _show_artifact),
    Verb("report", "report the outcome of the update in progress (for sub-updaters)", _report, _report_options),
    Verb(
        "check-update", "make the daemon poll now; without a daemon, ask the server whether there is an update", _check
    ),
    Verb("send-inventory", "make the daemon send the inventory now; without a daemon, send it", _send_inventory),
    Verb("status", "show what the client is doing and why; disturbs nobody", _status, _status_options),
    Verb("history", "show how the last deployments ended", _history, _json_option),
    Verb(
        "setup",
        "set this device up: configuration, device type, key, and on demand scripts and unit",
        _setup,
        _setup_options,
    ),
    Verb("doctor", "look for what is wrong with this device, and say what to do", _doctor, _json_option),
    Verb("config", "check, show and explain the configuration", _no_command, _config_commands),
    Verb("artifact", "look into Artifact files, verify, make and sign them", _no_command, _artifact_commands),
)
"""Every command, in the order of the help."""
