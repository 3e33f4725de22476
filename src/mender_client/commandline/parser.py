"""Makes a program's argparse parser from the declarations of its commands."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import takewhile

from mender_client import TYPE_CHECKING
from mender_client.errors import Diagnostic

from .declaration import USAGE_EXIT_CODE, Argument, Command, OneOf, Part, Program

if TYPE_CHECKING:
    from typing import Any, NoReturn

COMMON = "common options"
_USAGE_COLUMNS = 80
_EXPECTED = {int: "a whole number", float: "a number"}
"""What the types are called whose own messages are not for users."""


class _Parser(argparse.ArgumentParser):
    """A parser whose error messages have one line, and which lists its commands if none is given.

    Attributes:
        commands: its commands.
        words: the words to parse, which are searched for misspelt options after an error.
        usage_exit_code: as of the program.
    """

    commands: Sequence[Command] = ()
    words: Sequence[str] = ()
    usage_exit_code = USAGE_EXIT_CODE

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, rest = super().parse_known_args(args, namespace)
        if self.commands and not hasattr(found, "run"):  # no command was given
            if rest:
                self.error(f"unrecognized arguments: {' '.join(rest)}")
            self.exit(self.usage_exit_code, self._list_of_commands())
        if rest and not self.commands:  # reported here, where the options of the command are known
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return found, rest

    def _list_of_commands(self) -> str:
        columns = max(len(command.name) for command in self.commands) + 2
        lines = [f"  {command.name:<{columns}}{command.help}\n" for command in self.commands]
        usage = f"usage: {self.prog} [OPTIONS] COMMAND [ARGUMENTS]\n\ncommands:\n"
        return f"{usage}{''.join(lines)}\nsee '{self.prog} COMMAND --help'\n"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            self._complain(f"unknown command '{value}'", value, action.choices)
        super()._check_value(action, value)

    def error(self, message: str) -> NoReturn:
        for word in takewhile("--".__ne__, self.words):
            name, known = word.partition("=")[0], self._option_string_actions
            if name.startswith("--") and not any(option.startswith(name) for option in known):
                self._complain(f"unknown option '{name}'", name, known)
        self._complain(message)

    def _complain(self, message: str, word: str = "", known: Iterable[str] = ()) -> NoReturn:
        """Exit with a one-line message, which suggests the known word that is most similar to the wrong one."""
        from difflib import get_close_matches  # rarely needed

        names = {name.lstrip("-"): name for name in known}
        near = get_close_matches(word.lstrip("-"), names, n=1)
        help_of = f"'{self.prog} --help'"
        remedy = f"did you mean '{names[near[0]]}'? See {help_of}" if near else f"see {help_of}"
        self.exit(self.usage_exit_code, f"{self.prog}: {Diagnostic('USE02', message, remedy)}\n")


def build_parser(program: Program, words: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """The parser of a program.

    Args:
        program: the program.
        words: the words to parse; commands that they don't contain are left out. None leaves nothing out.
    """
    parser = _Parser(
        prog=program.name,
        description=program.description,
        epilog="\n\n".join(filter(None, (program.example, program.epilog))),
        formatter_class=_formatter(argparse.RawDescriptionHelpFormatter, words),
        parents=[_common_options(program.common, is_default=True)],
    )
    if program.version:
        parser.add_argument("--version", action="version", version=f"{program.name} {program.version}")
    _add_parts(parser, program.commands, program, words)
    return parser


def _formatter(kind: type[argparse.HelpFormatter], words: Sequence[str] | None) -> Any:
    """The class of help formatters; unless help is requested, it doesn't determine the width of the terminal.

    argparse creates a formatter for each argument, which loads shutil and its compression modules to get that width.
    """
    is_help = words is None or not {"-h", "--help"}.isdisjoint(words)
    return kind if is_help else partial(kind, width=_USAGE_COLUMNS)


def _common_options(arguments: Sequence[Argument], *, is_default: bool) -> _Parser:
    """The options of every command; one that is not given after the command keeps the value given before it."""
    options = _Parser(add_help=False)
    group = options.add_argument_group(COMMON)
    for argument in arguments:
        settings = _settings(argument)
        group.add_argument(*argument.names, **(settings if is_default else {**settings, "default": argparse.SUPPRESS}))
    return options


def _settings(argument: Argument) -> dict[str, Any]:
    """The settings of an argument for argparse, which shows no message of a ValueError, only those of its own error."""
    kind = argument.settings.get("type")
    if kind is None:
        return argument.settings

    def convert(text: str) -> Any:
        try:
            return kind(text)
        except ValueError as error:
            expected = _EXPECTED.get(kind)
            raise argparse.ArgumentTypeError(f"{text!r} is not {expected}" if expected else str(error)) from None

    return {**argument.settings, "type": convert}


def _add_parts(parser: _Parser, parts: Sequence[Part], program: Program, words: Sequence[str] | None) -> None:
    commands = [part for part in parts if isinstance(part, Command)]
    parser.commands, parser.words = commands, words or ()
    parser.usage_exit_code = program.usage_exit_code
    for part in parts:
        if isinstance(part, Argument):
            parser.add_argument(*part.names, **_settings(part))
        elif isinstance(part, OneOf):
            group = parser.add_mutually_exclusive_group(required=part.is_required)
            for argument in part.arguments:
                group.add_argument(*argument.names, **_settings(argument))
    if commands:
        unused = _Parser(add_help=False)

        def make(*, is_used: bool = True, **settings: Any) -> _Parser:
            return _Parser(formatter_class=_formatter(argparse.HelpFormatter, words), **settings) if is_used else unused

        kind: Any = make
        below = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=kind)
        for command in commands:
            if words is not None and command.name not in words:
                below.add_parser(command.name, help=command.help, is_used=False)
            else:
                _add_command(below, command, program, words)


def _add_command(below: Any, command: Command, program: Program, words: Sequence[str] | None) -> None:
    parser: _Parser = below.add_parser(
        command.name,
        help=command.help,
        description=f"{command.help[:1].upper()}{command.help[1:]}. {command.more}".rstrip(),
        epilog=program.epilog,
        parents=[_common_options(program.common, is_default=False)],
    )
    _add_parts(parser, command.parts() if callable(command.parts) else command.parts, program, words)
    if not parser.commands:
        parser.set_defaults(run=command.run, **command.defaults)
