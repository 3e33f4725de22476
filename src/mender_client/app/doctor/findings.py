"""What a check has found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .context import DiagnosticContext


class Verdict(str, Enum):
    """How a check came out; only a fault makes the doctor end with exit code 1."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: what was checked; a name of the table.
        verdict: how it came out.
        found: what was found.
        remedy: what to do; empty where there is nothing to do.
    """

    check: str
    verdict: Verdict
    found: str
    remedy: str = ""


CheckResult = tuple[Verdict, str, str]
"""A verdict, what was found, and what to do."""

Check = Callable[["DiagnosticContext"], Iterator[CheckResult]]
"""Looks at one thing; gives at least one result."""


def ok(found: str) -> CheckResult:
    """Nothing to do."""
    return Verdict.OK, found, ""


def warning(found: str, remedy: str = "") -> CheckResult:
    """Updates work, but something should be known."""
    return Verdict.WARNING, found, remedy


def fault(found: str, remedy: str = "") -> CheckResult:
    """Updates don't work, or are in danger, until this is mended."""
    return Verdict.FAULT, found, remedy


def skipped(found: str) -> CheckResult:
    """It could not be looked at, because of another fault or because there is nothing."""
    return Verdict.SKIPPED, found, ""


def parted(message: str, remedy: str = "") -> tuple[str, str]:
    """A message of ours as what was found and what to do: messages end with the next step behind the last semicolon."""
    found, semicolon, advice = message.rpartition("; ")
    return (found, advice) if semicolon else (message, remedy)
