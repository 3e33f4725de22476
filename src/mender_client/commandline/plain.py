"""Parses the command lines that units and scripts write, without argparse.

Importing argparse and building a parser takes more time than the rest of a short command's start, and an idle daemon
would keep the memory. What argparse would treat in any special way is left to it, so the two can't disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mender_client import TYPE_CHECKING

from .declaration import Argument, Command, OneOf, Options, Part, Program

if TYPE_CHECKING:
    from typing import Any


def parse_plain(program: Program, words: Sequence[str]) -> Options | None:
    """Parse a command, its options with their exact names, and their values.

    Args:
        program: the program.
        words: its arguments.

    Returns:
        what the program's parser returns for the words; None if they contain anything else, such as positional
        arguments, abbreviations, requests for help and mistakes.
    """
    values: dict[str, Any] = {}
    parts: Sequence[Part] = program.commands
    known = _plain_options(program.common)
    command: Command | None = None
    rest = iter(words)
    for word in rest:
        if not word.startswith("-"):
            command = next((part for part in parts if isinstance(part, Command) and part.name == word), None)
            if command is None:
                return None
            parts = command.parts() if callable(command.parts) else command.parts
            known = _plain_options((*program.common, *_arguments(parts)))
            continue
        name, has_value, value = word.partition("=")
        option = known.get(name)
        if option is None or (has_value and not name.startswith("--")):
            return None
        try:
            values[option.destination] = _plain_value(option, value if has_value else None, rest)
        except ValueError:
            return None
    if command is None or any(isinstance(part, Command) for part in parts):
        return None
    values = {"run": command.run, **command.defaults, **values}
    return Options(**values) if _complete(values, program.common, parts) else None


def _arguments(parts: Iterable[Part]) -> Iterator[Argument]:
    for part in parts:
        if isinstance(part, Argument):
            yield part
        elif isinstance(part, OneOf):
            yield from part.arguments


def _plain_options(arguments: Iterable[Argument]) -> dict[str, Argument]:
    """The options that have one value or are flags, by all their names."""
    return {
        name: argument
        for argument in arguments
        if argument.is_option and argument.settings.get("action") in (None, "store_true")
        if "nargs" not in argument.settings
        for name in argument.names
    }


def _plain_value(option: Argument, value: str | None, rest: Iterator[str]) -> Any:
    """The value of an option.

    Args:
        option: the option.
        value: what follows its name and "="; None if there is no "=".
        rest: the next words.

    Raises:
        ValueError: the value is missing or wrong.
    """
    if "action" in option.settings:
        if value is not None:
            raise ValueError
        return True
    text = next(rest, "") if value is None else value
    if not text or text.startswith("-"):
        raise ValueError
    result = option.settings.get("type", str)(text)
    if result not in option.settings.get("choices", (result,)):
        raise ValueError
    return result


def _complete(values: dict[str, Any], common: Sequence[Argument], parts: Sequence[Part]) -> bool:
    """Add the defaults; return whether all required arguments are given, and no two that exclude each other."""
    for part in parts:
        if isinstance(part, OneOf):
            given = sum(argument.destination in values for argument in part.arguments)
            if given > 1 or (part.is_required and not given):
                return False
    for argument in (*common, *_arguments(parts)):
        settings, name = argument.settings, argument.destination
        if name in values:
            continue
        values[name] = settings.get("default", False if settings.get("action") == "store_true" else None)
        is_required = settings.get("required", False) if argument.is_option else settings.get("nargs") != "?"
        if is_required or (isinstance(values[name], str) and "type" in settings):  # argparse converts such a default
            return False
    return True
