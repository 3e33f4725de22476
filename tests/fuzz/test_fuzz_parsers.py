"""A short run of every parser's fuzzer with a fixed seed; for the long one see the fuzzer's own module."""

from __future__ import annotations

import pytest

from fuzz.fuzz_parsers import run
from fuzz.parsers import Parser, all_parsers, check_text
from mender_client.errors import ConfigError, ServerError

CASES = 60


@pytest.fixture(scope="module")
def parsers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Parser]:
    """All parsers."""
    return all_parsers(tmp_path_factory.mktemp("fuzz"))


def test_only_errors_of_our_own_come_out(parsers: dict[str, Parser], is_nightly: bool) -> None:
    """A parser accepts any input or refuses it with its own error, in little time and memory."""
    cases = 2_000 if is_nightly else CASES
    for name, parser in parsers.items():
        result = run(parser, cases, 1_000_000)
        assert () == result.failures, name
        assert cases == sum(result.outcomes.values())
        assert len(result.outcomes) > 1, name  # cases that are all refused at the start would verify nothing


def test_forged_message_is_found() -> None:
    """The check of a message's text finds terminal control sequences, and an endless message."""
    with pytest.raises(AssertionError, match="control"):
        check_text(ServerError("a\x1b[2J", status=500))
    with pytest.raises(AssertionError, match="characters"):
        check_text(ConfigError(["good", "x" * 5000]))


def test_foreign_error_is_a_failure() -> None:
    """An error that is not the parser's own, and a case that takes too long, are reported with their seed."""
    parser = Parser("broken", lambda rng: rng.random(), lambda case: str(1 / 0))
    assert ("seed 7: ZeroDivisionError: division by zero",) == run(parser, 1, 7).failures
