"""The command line of ``mender-python-client``. Imports only what the command at hand needs."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

from mender_client import __version__
from mender_client.errors import ConfigError, Interrupted, MenderError

from .exitcodes import ExitCode

if TYPE_CHECKING:
    from mender_client.system.keys import Passphrase

    from .config import Config
    from .paths import Paths

PROGRAM = "mender-python-client"

_EPILOG = """\
exit codes: 0 done; 1 failed; 2 nothing to do, or nothing in progress; 64 wrong usage; 75 kept for later (report);
78 wrong configuration
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}\n")


def build_parser(words: Sequence[str] | None = None) -> _Parser:
    """The parser of all commands; the common options are accepted before and after the verb.

    Args:
        words: what is to be parsed: what can't be needed for it is left out. None leaves nothing out.
    """
    parser = _Parser(
        prog=PROGRAM,
        description="Keeps a device up to date from a Mender server.",
        epilog=_EPILOG,
        parents=[_common_options(is_default=True)],
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=_Parser)

    def verb(name: str, help_text: str, run: _Command) -> _Parser:
        sub = verbs.add_parser(
            name, help=help_text, description=help_text, epilog=_EPILOG, parents=[_common_options(is_default=False)]
        )
        sub.set_defaults(run=run)
        return sub

    daemon = verb("daemon", "run the client: authorise, send inventory, poll, download and hand over", _daemon)
    daemon.add_argument("--metrics-file", metavar="FILE", help="keep figures in this file, in the form of Prometheus")
    bootstrap = verb("bootstrap", "make the device key unless there is one, and print its public key", _bootstrap)
    bootstrap.add_argument(
        "--key-type",
        choices=("rsa", "ecdsa", "ed25519"),
        help="RSA of 3072 bits (default), ECDSA on P-256, or Ed25519; a key of another type is not replaced",
    )
    verb("show-artifact", "print the name of the installed Artifact", _show_artifact)
    report = verb("report", "report the outcome of the update in progress (for sub-updaters)", _report)
    outcome = report.add_mutually_exclusive_group(required=True)
    outcome.add_argument("--success", action="store_true", help="the update is installed and committed")
    outcome.add_argument("--failure", action="store_true", help="the update failed; sends the deployment log too")
    report.add_argument("--reason", metavar="TEXT", default="", help="why it failed; goes into the deployment log")
    report.add_argument(
        "--timeout", metavar="SECONDS", type=_seconds, default=60.0, help="how long to try (default: 60)"
    )
    verb(
        "check-update", "make the daemon poll now; without a daemon, ask the server whether there is an update", _check
    )
    verb("send-inventory", "make the daemon send the inventory now; without a daemon, send it", _send_inventory)
    status = verb("status", "show what the client is doing and why; disturbs nobody", _status)
    status.add_argument("--json", action="store_true", help="for programs")
    status.add_argument("-f", "--follow", action="store_true", help="show it again and again, until Ctrl-C")
    history = verb("history", "show how the last deployments ended", _history)
    history.add_argument("--json", action="store_true", help="for programs")

    setup = verb("setup", "set this device up: configuration, device type, key, and on demand scripts and unit", _setup)
    if words is None or "setup" in words:
        from .setup.options import add_options

        add_options(setup)
    doctor = verb("doctor", "look for what is wrong with this device, and say what to do", _doctor)
    doctor.add_argument("--json", action="store_true", help="for programs")

    config = verb("config", "check, show and explain the configuration", _no_command)
    if words is None or "config" in words:
        from .config.options import add_commands as add_config_commands

        add_config_commands(config, {"epilog": _EPILOG, "parents": [_common_options(is_default=False)]}, _paths)
    artifact = verb("artifact", "look into Artifact files, prove, make and sign them", _no_command)
    if words is None or "artifact" in words:
        from .artifact.options import add_commands

        add_commands(artifact, {"epilog": _EPILOG, "parents": [_common_options(is_default=False)]})
    return parser


def _common_options(*, is_default: bool) -> _Parser:
    """The options of every command; after the verb they leave alone what stood before it."""
    options = _Parser(add_help=False, argument_default=None if is_default else argparse.SUPPRESS)
    add = options.add_argument_group("common options").add_argument
    add("-c", "--config", metavar="FILE", help="main configuration (default: /etc/mender/mender.conf)")
    add("--fallback-config", metavar="FILE", help="fallback configuration (default: mender.conf in the data folder)")
    add("-d", "--data", metavar="DIR", help="data folder (default: /var/lib/mender)")
    add("--root", metavar="DIR", help="folder that every path lies below; for tests, containers and images")
    add("-l", "--log-level", metavar="LEVEL", type=_log_level, help="debug, info, warning, error or critical")
    add("-L", "--log-file", metavar="FILE", help="log to this file instead of standard error")
    add("--log-format", metavar="FORMAT", choices=("text", "json"), help="text (default) or json, one object a line")
    suppressed: dict[str, Any] = {} if is_default else {"default": argparse.SUPPRESS}
    add("--no-syslog", action="store_true", help="don't log to syslog (the daemon does by default)", **suppressed)
    add("--skipverify", action="store_true", help="trust every server; for a test bench only", **suppressed)
    add("-F", "--forcebootstrap", action="store_true", help="replace the device key by a new one", **suppressed)
    add(
        "--passphrase-file",
        metavar="FILE",
        help="holds the key's passphrase, or its token's PIN; - reads standard input",
    )
    return options


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds between 0 and 86400")
    return seconds


def _log_level(text: str) -> str:
    from .logs import LEVELS

    if text.lower() not in LEVELS:
        raise argparse.ArgumentTypeError(f"unknown log level {text!r}; choose debug, info, warning, error or critical")
    return text.lower()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: what stands behind the program's name; default: those of this process.

    Returns:
        The exit code.
    """
    words = sys.argv[1:] if arguments is None else arguments
    options = build_parser(words).parse_args(words)
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal can't show ends nothing
        code = int(options.run(options))
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except ConfigError as error:
        for problem in error.problems:
            print(f"{PROGRAM}: {problem}", file=sys.stderr)
        return ExitCode.CONFIGURATION
    except Interrupted:
        return ExitCode.DONE
    except MenderError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return ExitCode.FAILED
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # whoever read our output has gone; keep the interpreter from complaining about it at exit
        sys.stdout = None
        return ExitCode.FAILED
    except OSError as error:
        # files of the device are the other rooms' business; what is left is standard output
        sys.stdout = None
        print(f"{PROGRAM}: cannot write the result: {error.strerror or error}", file=sys.stderr)
        return ExitCode.FAILED


_Command = Callable[[argparse.Namespace], ExitCode]


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
    from .guard import check_configuration_files, check_files
    from .inheritance import shed_inheritance
    from .logs import set_up_logging

    check_configuration_files(paths)
    shed_inheritance()
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

    for name in ("log_file", "metrics_file"):  # the daemon changes its folder
        path = getattr(options, name)
        setattr(options, name, os.path.abspath(path) if path else None)
    config, paths = _start(options, is_daemon=True)
    from .daemon import run_daemon
    from .watch import make_watch

    return run_daemon(
        config,
        paths,
        load=lambda: _load(options, paths, is_server_needed=True, is_daemon=True),
        make_watch=lambda: make_watch(paths, os.environ, pid=os.getpid(), metrics_file=options.metrics_file),
        is_new_key_wanted=options.forcebootstrap,
        is_watched=options.log_file is None and sys.stderr.isatty(),
        passphrase=_passphrase(options, paths),
    )


def _bootstrap(options: argparse.Namespace) -> ExitCode:
    config, paths = _start(options, is_server_needed=False)
    from mender_client.core.devicekey import KeyType, fingerprint, key_type
    from mender_client.system.files import DaemonLock, make_folder

    from .devicekey import device_key, prepare_key

    make_folder(paths.data)
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
    from .setup.options import wishes_of
    from .setup.run import set_up

    paths = _paths(options)
    passphrase = _passphrase(options, paths)
    code = set_up(wishes_of(options), paths, passphrase, is_agreed=options.yes)
    if code is not ExitCode.DONE:
        return code
    options.log_level = options.log_level or "warning"  # the verdict says what matters
    config, paths = _start(options)
    from .devicekey import device_key
    from .verdict import give_verdict

    return give_verdict(config, paths, device_key(config, paths, passphrase))


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
        print(f"deployment {current or '(unknown)'} is in the sub-updater's hands; nothing is asked before it is over")
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
