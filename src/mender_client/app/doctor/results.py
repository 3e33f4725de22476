"""The result of a check."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from typing import TYPE_CHECKING

from mender_client.dataclass import dataclass
from mender_client.errors import Diagnostic

if TYPE_CHECKING:
    from .context import DiagnosticContext


class Verdict(str, Enum):
    """The outcome of a check; only a fault makes ``doctor`` exit with code 1."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class CheckResult:
    """One line of the report.

    Attributes:
        verdict: the outcome of the check.
        found: what was found.
        remedy: what to do; empty if there is nothing to do.
        code: the code of the client's message in ``found``; empty if that is no such message.
    """

    verdict: Verdict
    found: str
    remedy: str = ""
    code: str = ""


Check = Callable[["DiagnosticContext"], Iterator[CheckResult]]
"""A check; yields at least one result."""


def ok(found: str) -> CheckResult:
    """Nothing to do."""
    return CheckResult(Verdict.OK, found)


def warning(found: str, remedy: str = "") -> CheckResult:
    """Updates work, but the operator should know this."""
    return CheckResult(Verdict.WARNING, found, remedy)


def fault(found: str, remedy: str = "") -> CheckResult:
    """Updates don't work, or are at risk, until this is fixed."""
    return CheckResult(Verdict.FAULT, found, remedy)


def skipped(found: str) -> CheckResult:
    """The check does not apply, or another fault prevents it."""
    return CheckResult(Verdict.SKIPPED, found)


def reported(verdict: Verdict, message: Diagnostic, remedy: str = "") -> CheckResult:
    """A message of the client as a result; the given remedy is used if the message has none."""
    return CheckResult(verdict, message.text, message.remedy or remedy, message.code)
