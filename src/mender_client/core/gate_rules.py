"""The configuration of a gate: a list of strings, one condition each.

::

    Mon-Fri 22:00-05:00 Europe/Berlin           a window; if there are several, one has to be open
    ask                                         an operator has to approve
    when /usr/bin/on_ac_power                   the program exits with 0
    when /sys/class/power_supply/BAT0/capacity >= 30    the content of the file satisfies the comparison
    run /usr/lib/mender/idle                    the program decides: 0 proceed, 21 not yet, any other code refuse
    after 7d go                                 after that time, the closed gate lets the update proceed; or "fail"

All conditions have to be met, except that one of several windows is enough.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from mender_client.dataclass import dataclass

from .windows import Window, parse_window

_FILE_OPERATORS = ("=", "!=", ">=", "<=")
_LIKE_AN_OPERATOR = ("=", "!", ">", "<")
_UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0}
_AFTER = re.compile(r"([1-9][0-9]{0,3})([mhd])")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True)
class FileCondition:
    """A condition on the content of a file.

    Attributes:
        path: the file.
        operator: ``=`` and ``!=`` compare texts, ``>=`` and ``<=`` numbers.
        value: what its content is compared with.
    """

    path: str
    operator: str
    value: str

    def holds(self, content: str) -> bool:
        """Whether this content satisfies the condition; ``>=`` and ``<=`` fail for content that isn't a number."""
        found = content.strip()
        if self.operator == "=":
            return found == self.value
        if self.operator == "!=":
            return found != self.value
        if not _NUMBER.fullmatch(found):
            return False
        return float(found) >= float(self.value) if self.operator == ">=" else float(found) <= float(self.value)


@dataclass(frozen=True)
class GateCommand:
    """A program that decides.

    Attributes:
        argv: the program and its arguments.
        may_refuse: whether exit codes other than 0 and 21 fail the deployment; if not, it waits.
    """

    argv: tuple[str, ...]
    may_refuse: bool


@dataclass(frozen=True)
class Deadline:
    """What happens to an update that waits too long.

    Attributes:
        seconds: how long it may wait.
        is_failure: whether it fails; if not, it proceeds.
    """

    seconds: float
    is_failure: bool


@dataclass(frozen=True)
class GateRules:
    """The conditions of one gate.

    Attributes:
        windows: one of them has to be open, if there are any.
        is_asking: whether an operator has to approve.
        files: all of them have to be met.
        commands: all of them have to agree.
        deadline: the limit for the waiting time, if any.
    """

    windows: tuple[Window, ...] = ()
    is_asking: bool = False
    files: tuple[FileCondition, ...] = ()
    commands: tuple[GateCommand, ...] = ()
    deadline: Deadline | None = None


def parse_gate(texts: Sequence[str]) -> GateRules:
    """Parse the conditions of a gate.

    Raises:
        ValueError: one of them is invalid; the message says which and why.
    """
    windows, files, commands, deadlines = list[Window](), list[FileCondition](), list[GateCommand](), list[Deadline]()
    is_asking = False
    for text in texts:
        words = [word for word in text.split(" ") if word]
        kind = words[0].lower() if words else ""
        if kind == "ask" and len(words) == 1:
            is_asking = True
        elif kind == "run":
            commands.append(GateCommand(_argv(words, text), may_refuse=True))
        elif kind == "when" and len(words) > 2 and words[2].startswith(_LIKE_AN_OPERATOR):
            files.append(_file(words, text))
        elif kind == "when":
            commands.append(GateCommand(_argv(words, text), may_refuse=False))
        elif kind == "after":
            deadlines.append(_deadline(words, text))
        else:
            windows.append(_window(text))
    if len(deadlines) > 1:
        raise ValueError('must not contain "after" twice')
    if deadlines and not (windows or is_asking or files or commands):
        raise ValueError('must contain something to wait for besides "after"')
    return GateRules(tuple(windows), is_asking, tuple(files), tuple(commands), deadlines[0] if deadlines else None)


def _window(text: str) -> Window:
    if text[:1].isdigit() or "-" in text or "," in text:
        return parse_window(text)
    try:
        return parse_window(text)
    except ValueError:
        raise ValueError(
            f"must consist of windows such as Mon-Fri 22:00-05:00, ask, when PATH, run PATH and after TIME go|fail; "
            f"{text!r:.80} is none of these"
        ) from None


def _argv(words: Sequence[str], text: str) -> tuple[str, ...]:
    if len(words) < 2 or not words[1].startswith("/"):
        raise ValueError(f"must have an absolute path after {words[0]!r} in {text!r:.80}")
    return tuple(words[1:])


def _file(words: Sequence[str], text: str) -> FileCondition:
    path, operator, value = words[1], words[2], " ".join(words[3:])
    if not path.startswith("/"):
        raise ValueError(f"must have an absolute path after {words[0]!r} in {text!r:.80}")
    if operator not in _FILE_OPERATORS:
        raise ValueError(f"must have =, !=, >= or <= between blanks in place of {operator!r:.80} in {text!r:.80}")
    if not value:
        raise ValueError(f"must have a value after {operator!r} in {text!r:.80}")
    if operator in (">=", "<=") and not _NUMBER.fullmatch(value):
        raise ValueError(f"must have a number after {operator!r} in {text!r:.80}")
    return FileCondition(path, operator, value)


def _deadline(words: Sequence[str], text: str) -> Deadline:
    found = _AFTER.fullmatch(words[1]) if len(words) == 3 else None
    end = words[-1].lower()
    if found is None or end not in ("go", "fail"):
        raise ValueError(f"must have a deadline such as 'after 7d go' or 'after 12h fail' in place of {text!r:.80}")
    return Deadline(int(found[1]) * _UNITS[found[2]], is_failure=end == "fail")
