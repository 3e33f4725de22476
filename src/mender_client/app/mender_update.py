"""The command line of ``mender-update``, the C++ client, which a package may install as a second name of the program.

Inventory scripts and add-ons call it. It offers some commands of ``mender-python-client``, with the short options, log
levels and exit code for wrong usage of the C++ client.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mender_client.commandline import Argument, Program
from mender_client.dataclass import replace

from .commands import CLIENT, COMMON
from .exitcodes import ExitCode

_COMMANDS = frozenset({
    "check-update", "commit", "daemon", "install", "resume", "rollback", "send-inventory", "show-artifact",
    "show-provides",
})  # fmt: skip
_LEVELS: Mapping[str, str] = {
    "trace": "debug",
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "error": "error",
    "fatal": "critical",
}


def _log_level(text: str) -> str:
    level = _LEVELS.get(text.lower())
    if level is None:
        raise ValueError(f"unknown log level {text!r} ({', '.join(_LEVELS)})")
    return level


def _common() -> Iterator[Argument]:
    for argument in COMMON:
        if "--fallback-config" in argument.names:
            yield Argument("-b", *argument.names, **argument.settings)
        elif "--log-level" in argument.names:
            yield Argument(*argument.names, **{**argument.settings, "type": _log_level, "help": ", ".join(_LEVELS)})
        else:
            yield argument


MENDER_UPDATE: Program = replace(
    CLIENT,
    name="mender-update",
    commands=tuple(command for command in CLIENT.commands if command.name in _COMMANDS),
    common=tuple(_common()),
    usage_exit_code=int(ExitCode.FAILED),
)
"""The program when it is called ``mender-update``."""
