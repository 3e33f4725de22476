"""How the commands of a program are declared: as data, from which parsers, manual pages and completions are generated.

A program is a tree of ``Command`` values. Each names its arguments and the function that runs it; that function
imports the implementation, so that a command loads only what it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace

from mender_client import TYPE_CHECKING
from mender_client.dataclass import dataclass, field

if TYPE_CHECKING:
    from typing import Any

USAGE_EXIT_CODE = 64
Options = SimpleNamespace
"""The values of the arguments, and ``run``, which runs the command with them."""


class Argument:
    """An option, or a positional argument.

    Args:
        names: the option's names, or the one name of a positional argument.
        settings: as for ``argparse.ArgumentParser.add_argument``; a function as ``type`` raises ValueError with
            the message for the user.
    """

    def __init__(self, *names: str, **settings: Any) -> None:
        self.names = names
        self.settings = settings

    @property
    def is_option(self) -> bool:
        return self.names[0].startswith("-")

    @property
    def destination(self) -> str:
        """The attribute of the options that has its value."""
        name = next((name for name in self.names if name.startswith("--")), self.names[0])
        return str(self.settings.get("dest") or name.lstrip("-").replace("-", "_"))


class OneOf:
    """Mutually exclusive options.

    Args:
        arguments: the options.
        is_required: whether one of them must be given.
    """

    def __init__(self, *arguments: Argument, is_required: bool = False) -> None:
        self.arguments = arguments
        self.is_required = is_required


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        name: as it is typed.
        help: a short description, lower-case and without a full stop, which lists of commands show.
        run: runs it; None for a command that only has subcommands.
        parts: its arguments and subcommands, or a function that imports them.
        defaults: values of arguments that it does not have but its implementation reads.
        more: further text for its manual, in complete sentences.
    """

    name: str
    help: str
    run: Callable[..., Any] | None = None
    parts: Sequence[Part] | Callable[[], Sequence[Part]] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    more: str = ""


Part = Argument | OneOf | Command


@dataclass(frozen=True)
class Program:
    """A program.

    Attributes:
        name: the name by which it is called.
        description: what it is for.
        commands: its commands, in the order of the help.
        common: options that every command takes, before and after its name.
        epilog: text at the end of the help of each command.
        example: text at the end of the help of the program, before the epilog.
        version: printed by ``--version``; empty for a program without that option.
        usage_exit_code: the exit code of wrong usage.
    """

    name: str
    description: str
    commands: Sequence[Command]
    common: Sequence[Argument]
    epilog: str
    example: str = ""
    version: str = ""
    usage_exit_code: int = USAGE_EXIT_CODE
