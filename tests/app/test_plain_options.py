"""Command lines are parsed without argparse only if argparse would give the same result."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pytest

from mender_client.app.commands import CLIENT
from mender_client.app.mender_update import MENDER_UPDATE
from mender_client.commandline import Argument, Command, OneOf, Part, Program, build_parser
from mender_client.commandline.plain import parse_plain

VALUES = ("x", "5", "json", "text", "debug", "rsa", "daemon", "/a b", "--", "-", "-5", "-x", "", "a=b", "ü")
"""Valid and invalid values, and words that only look like values."""

PLAIN = (
    "daemon",
    "daemon --metrics-file /run/metrics",
    "--root /r --log-level=debug daemon --no-syslog -c FILE",
    "check-update --wait",
    "send-inventory",
    "report --success",
    "report --failure --reason text --timeout 5",
    "status --json",
    "config check --json",
    "gateway --at-once 4 --devices DIR",
    "setup --yes --device-type x",
)


def of_command(parts: Sequence[Part], words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], list[Argument]]]:
    """Yield the words and the arguments of each command that has no subcommands."""
    arguments = [part for part in parts if isinstance(part, Argument)]
    arguments += [argument for part in parts if isinstance(part, OneOf) for argument in part.arguments]
    commands = [part for part in parts if isinstance(part, Command)]
    if not commands:
        yield words, arguments
    for command in commands:
        yield from of_command(command.parts() if callable(command.parts) else command.parts, (*words, command.name))


def options_of(choose: random.Random, arguments: Sequence[Argument]) -> Iterator[str]:
    """Yield a random selection of options, mostly with a value if they take one, and occasionally a mistake."""
    for argument in choose.choices(arguments, k=choose.randrange(4)):
        name = choose.choice(argument.names)
        if not argument.is_option or choose.random() < 0.05:
            yield choose.choice(VALUES)
            continue
        if choose.random() < 0.05:
            name = choose.choice((name[:-1], f"{name}x", "--help", "-h", "--version", "--"))
        has_value = "action" not in argument.settings or choose.random() < 0.1
        value = choose.choice(VALUES[:8] if choose.random() < 0.8 else VALUES)
        if has_value and choose.random() < 0.3:
            yield f"{name}={value}"
        else:
            yield from (name, value) if has_value else (name,)


@pytest.mark.parametrize("program", [CLIENT, MENDER_UPDATE], ids=lambda program: program.name)
def test_plain_as_argparse(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    """More than 400 of 2,000 random lines are parsed without argparse, always with the same result as argparse."""
    choose = random.Random(11)
    commands = list(of_command(program.commands))
    count = 0
    for _ in range(2000):
        words, arguments = choose.choice(commands)
        line = list(options_of(choose, program.common))
        for word in words:
            line.append(word)
            line += options_of(choose, program.common) if choose.random() < 0.3 else ()
        line += options_of(choose, [*program.common[:2], *arguments])
        plain = parse_plain(program, line)
        if plain is not None:
            count += 1
            try:
                assert vars(plain) == vars(build_parser(program, line).parse_args(line))
            except SystemExit:
                pytest.fail(f"argparse refuses {line}: {capsys.readouterr().err}")
    assert count > 400


@pytest.mark.parametrize("line", PLAIN)
def test_usual_is_plain(line: str) -> None:
    """The command lines used in units and scripts don't need argparse."""
    assert parse_plain(CLIENT, line.split()) is not None


@pytest.mark.parametrize(
    "line",
    ["", "config", "report", "report --success --failure", "daemon --met x", "log 123", "daemon -l loud", "-h daemon"],
)
def test_left_to_argparse(line: str) -> None:
    """Mistakes, abbreviations, help and positional arguments are left to argparse."""
    assert parse_plain(CLIENT, line.split()) is None
