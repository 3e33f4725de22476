"""What is fuzzed: each parser with valid input to start from, and the errors that it may raise.

An attempt returns a word for its outcome. Any exception besides those named here is a failure, and so is an
error whose text would forge a line or steer a terminal.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mender_client.errors import ConfigError, MenderError

LONGEST_LINE = 2000


@dataclass(frozen=True)
class Parser:
    """A parser of foreign input.

    Args:
        name: the kind of input.
        make: generates a case.
        attempt: lets it read the case, and checks the result.
        errors: the exceptions that it may raise.
    """

    name: str
    make: Callable[[random.Random], Any]
    attempt: Callable[[Any], str]
    errors: tuple[type[Exception], ...] = ()

    def try_case(self, case: Any, _: int) -> str:
        """Let it read a case; return a word for the outcome."""
        try:
            return self.attempt(case)
        except self.errors as error:
            if not isinstance(error, MenderError) and type(error) not in self.errors:
                raise  # an error of another origin that happens to be of the same family
            check_text(error)
            return type(error).__name__


def check_text(error: Exception) -> None:
    """Check that an error's text is suitable for a log and a terminal."""
    lines = [str(one) for one in error.problems] if isinstance(error, ConfigError) else [str(error)]
    for line in lines:
        if not line.isprintable():
            raise AssertionError(f"a message holds control characters: {line[:300]!a}")
        if len(line) > LONGEST_LINE:
            raise AssertionError(f"a message has {len(line)} characters: {line[:300]!a}")


def all_parsers(directory: Path) -> dict[str, Parser]:
    """Every parser by name.

    Args:
        directory: where files may be written.
    """
    from fuzz import connect, dbus, files, replies, server, texts

    listed = [
        *texts.parsers(),
        *replies.parsers(),
        *files.parsers(directory),
        *server.parsers(directory),
        *connect.parsers(directory),
        *dbus.parsers(),
    ]
    return {parser.name: parser for parser in listed}
