"""The declarations of the commands of ``mender-python-client`` and of their options."""

from __future__ import annotations

from collections.abc import Sequence

from mender_client import __version__
from mender_client.commandline import Argument, Command, OneOf, Part, Program

from . import actions
from .command import PROGRAM
from .decision_commands import DECISIONS


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
        raise ValueError(f"{text!r} is not a number of seconds from 0 to 86400")
    return seconds


def _few(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 32:
        raise ValueError(f"{text!r} is not a number from 1 to 32")
    return int(text)


_JSON = Argument("--json", action="store_true", help="print JSON, for programs")

COMMANDS: tuple[Command, ...] = (
    Command(
        "daemon",
        "run the client: poll for updates, and install them",
        actions.daemon,
        (Argument("--metrics-file", metavar="FILE", help="write metrics to this file, in the Prometheus text format"),),
    ),
    Command(
        "connect",
        "allow terminals, file transfers and port forwarding",
        actions.connect,
        more="Runs beside the daemon until it is stopped, and allows what mender-connect.conf permits; without that "
        "file it does nothing. See the guide on remote access.",
    ),
    Command(
        "dbus",
        "share this device's authorisation with third-party add-ons",
        actions.dbus,
        more="Runs beside the daemon until it is stopped, and offers io.mender.AuthenticationManager on the system "
        "bus, as the C++ client does. See the guide on add-ons.",
    ),
    Command(
        "gateway",
        "run one device for each directory or entry in --devices",
        actions.gateway,
        (
            Argument(
                "--at-once",
                metavar="N",
                type=_few,
                default=4,
                help="how many devices are updated at once (default: 4); one per group, unless Groups says otherwise",
            ),
            Argument(
                "--workers",
                metavar="N",
                type=_few,
                default=8,
                help="how many devices poll and send their inventory at once (default: 8)",
            ),
            Argument("--metrics-file", metavar="FILE", help="write metrics of all devices to this file"),
        ),
        more="Runs until it is stopped. A device whose description is added meanwhile is served from then on; one "
        "whose description is removed is no longer served. See the guide on gateways.",
    ),
    Command(
        "bootstrap",
        "generate the device key if there is none; print its public key",
        actions.bootstrap,
        (
            Argument(
                "--key-type",
                choices=("rsa", "ecdsa", "ed25519"),
                help="RSA of 3072 bits (default), ECDSA on P-256, or Ed25519; a key of another type is not replaced",
            ),
        ),
    ),
    Command("show-artifact", "print the name of the installed Artifact", actions.show_artifact),
    Command("show-provides", "print what the installed software provides", actions.show_provides, (_JSON,)),
    Command("install", "install an Artifact without a server", actions.install, _install_arguments),
    Command("commit", "commit the update that 'install' has installed", actions.commit, _commit_arguments),
    Command("rollback", "roll back the update that 'install' has installed", actions.rollback, _commit_arguments),
    Command("resume", "continue an 'install' that was stopped or interrupted", actions.resume, _resume_arguments),
    Command("show-inventory", "print the inventory that would be sent", actions.show_inventory, (_JSON,)),
    Command("show-identity", "print the identity that would be sent", actions.show_identity, (_JSON,)),
    Command(
        "report",
        "report the outcome of an update (for sub-updaters)",
        actions.report,
        (
            OneOf(
                Argument("--success", action="store_true", help="the update is installed and committed"),
                Argument("--failure", action="store_true", help="the update failed; sends the deployment log too"),
                Argument(
                    "--rebooting", action="store_true", help="the device is about to reboot; the outcome follows later"
                ),
                is_required=True,
            ),
            Argument("--reason", metavar="TEXT", default="", help="why it failed, for the deployment log"),
            Argument(
                "--timeout",
                metavar="SECONDS",
                type=_seconds,
                default=60.0,
                help="how long to keep trying (default: 60)",
            ),
        ),
    ),
    Command(
        "check-update",
        "poll for an update now",
        actions.check_update,
        (
            Argument(
                "--wait",
                action="store_true",
                help="wait until the daemon has handed an update over to the sub-updater, or has found none",
            ),
        ),
        more="The daemon polls, and installs the update. Without a running daemon, the command asks the server whether "
        "there is an update, and installs nothing. With --wait, exit code 0 means that an update was handed over or is "
        "installed, 2 that there is none or that it waits at a gate, and 1 that the poll or the update has failed.",
    ),
    Command(
        "send-inventory",
        "send the inventory now",
        actions.send_inventory,
        more="The daemon sends it if it is running; otherwise the command does.",
    ),
    *DECISIONS,
    Command(
        "status",
        "show what the client is doing and why",
        actions.status,
        (_JSON, Argument("-f", "--follow", action="store_true", help="keep showing the status, until Ctrl-C")),
    ),
    Command("history", "show the outcomes of the last deployments", actions.history, (_JSON,)),
    Command(
        "log",
        "print the log of the last deployment",
        actions.log,
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
        actions.setup,
        _setup_arguments,
    ),
    Command("doctor", "check this device, and show how to fix what is wrong", actions.doctor, (_JSON,)),
    Command("config", "check, show, change and explain the configuration", parts=_config_commands),
    Command("artifact", "show, verify, create and sign Artifact files", parts=_artifact_commands),
)
"""Every command, in the order of the help."""


def _log_level(text: str) -> str:
    from .logs import LEVELS

    if text.lower() not in LEVELS:
        raise ValueError(f"unknown log level {text!r} (debug, info, warning, error or critical)")
    return text.lower()


COMMON = (
    Argument("-c", "--config", metavar="FILE", help="main configuration (default: /etc/mender/mender.conf)"),
    Argument(
        "--fallback-config", metavar="FILE", help="fallback configuration (default: mender.conf in the data directory)"
    ),
    Argument("-d", "--data", metavar="DIR", help="data directory (default: /var/lib/mender)"),
    Argument(
        "--root",
        metavar="DIR",
        help="directory that all paths of the client are relative to; doesn't confine update modules",
    ),
    Argument("--devices", metavar="DIR", help="where a gateway's devices are described (default: /etc/mender/devices)"),
    Argument("--device", metavar="NAME", help="a device of the gateway, instead of this machine"),
    Argument("-l", "--log-level", metavar="LEVEL", type=_log_level, help="debug, info, warning, error or critical"),
    Argument("-L", "--log-file", metavar="FILE", help="log to this file instead of standard error"),
    Argument(
        "--log-format", metavar="FORMAT", choices=("text", "json"), help="text (default), or json: one object per line"
    ),
    Argument("--no-syslog", action="store_true", help="don't log to syslog (the daemon does by default)"),
    Argument("--skipverify", action="store_true", help="trust every server; for a test bench only"),
    Argument("-F", "--forcebootstrap", action="store_true", help="replace the device key with a new one"),
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
    "21 not yet (gate); 64 wrong usage; 75 stored, to be sent later (report); 78 wrong configuration",
    version=__version__,
)
