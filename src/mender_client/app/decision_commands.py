"""The commands with which operators decide about updates, and ``gate``. Each imports only what it needs."""

from __future__ import annotations

import os
from collections.abc import Callable

from mender_client import TYPE_CHECKING
from mender_client.commandline import Argument, Command, Options

from .exitcodes import ExitCode
from .loading import paths_of

if TYPE_CHECKING:
    from datetime import datetime

    from mender_client.client.decisions import UpdateDecisions

    Decision = Callable[[UpdateDecisions, str], str]

_POINTS = ("download", "install", "reboot", "commit")


def _decide(options: Options, decision: Decision) -> ExitCode:
    from .decide import decide, person
    from .startup import reset_inherited_state

    reset_inherited_state()
    return decide(paths_of(options), lambda decisions: decision(decisions, person(os.environ)))


def _pause(options: Options) -> ExitCode:
    return _decide(options, lambda to, by: to.pause(by, options.reason, is_all=options.all))


def _continue(options: Options) -> ExitCode:
    return _decide(options, lambda to, by: to.resume(by, is_all=options.all))


def _approve(options: Options) -> ExitCode:
    from mender_client.core.gates import GatePoint

    point = GatePoint(options.gate) if options.gate else None
    return _decide(options, lambda to, by: to.approve(by, options.reason, point=point, is_all=options.all))


def _postpone(options: Options) -> ExitCode:
    return _decide(options, lambda to, by: to.postpone(options.end, by, options.reason, is_all=options.all))


def _refuse(options: Options) -> ExitCode:
    return _decide(options, lambda to, by: to.refuse(by, options.reason, is_all=options.all))


def _end(text: str) -> datetime:
    from datetime import datetime

    from .decide import parse_end

    return parse_end(text, datetime.now().astimezone())


def _gate(options: Options) -> ExitCode:
    from mender_client.core.gates import GatePoint

    from .gate import ask_gate
    from .loading import load, passphrase

    paths = paths_of(options)
    return ask_gate(
        lambda: load(options, paths, is_server_needed=False),
        paths,
        GatePoint(options.point),
        deployment_id=os.environ.get("MENDER_DEPLOYMENT_ID", ""),
        is_waiting=options.wait,
        passphrase=passphrase(options, paths),
    )


_ALL = Argument("--all", action="store_true", help="not only the update in progress, but all future ones as well")
_REASON = Argument("--reason", metavar="TEXT", default="", help="why; shown by 'status', and in the log")

DECISIONS: tuple[Command, ...] = (
    Command(
        "pause",
        "pause the update at its next gate",
        _pause,
        (_ALL, _REASON),
        more="The gates are before the download, the installation, the reboot and the commit; a step that has begun "
        "is not interrupted. Without an update in progress, --all is needed.",
    ),
    Command(
        "continue",
        "cancel a pause, a postponement or a refusal",
        _continue,
        (_ALL,),
        more="Configured gates (UpdateGates) still apply. With --all, decisions about all future updates are cancelled "
        "as well.",
    ),
    Command(
        "approve",
        "approve the update at the gate that asks for it",
        _approve,
        (
            _ALL,
            Argument("--gate", choices=_POINTS, help="approve it for this gate, possibly in advance"),
            _REASON,
        ),
        more="With --all, all future updates may pass every gate that asks, or the one named by --gate, until "
        "'refuse --all' cancels that.",
    ),
    Command(
        "postpone",
        "pause the update at its next gate until a given time",
        _postpone,
        (
            Argument("end", metavar="TIME", type=_end, help="90m, 4h, 2d, 1w; 22:00; or 2030-12-24T22:00"),
            _ALL,
            _REASON,
        ),
        more="A time of day means its next occurrence, in the time zone of the device.",
    ),
    Command(
        "refuse",
        "fail the update at its next gate",
        _refuse,
        (_ALL, _REASON),
        more="Before the commit it is rolled back. With --all, every update fails until 'continue --all'.",
    ),
    Command(
        "gate",
        "ask whether the update may proceed (for sub-updaters)",
        _gate,
        (
            Argument("point", metavar="GATE", choices=("reboot", "commit"), help="reboot or commit"),
            Argument("--wait", action="store_true", help="wait until it may proceed, or is refused"),
        ),
        more="Exit code 0: proceed; 21: not yet, ask again later; any other: refused, or aborted on the server. The "
        "reason is printed.",
    ),
)
