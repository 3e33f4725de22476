"""Describes the commands of a program from its parser, for the tools that generate documentation.

Everything is derived from the parser's actions instead of argparse's help output, which depends on the width of the
terminal and the version of Python.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

COMMON = "common options"
"""The heading of the options that all commands have, see ``mender_client.commandline``."""
_LONGEST_USAGE = 120


def walk(
    parser: argparse.ArgumentParser, path: tuple[str, ...], about: str = ""
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser, str]]:
    """All commands without subcommands: the words of the command line, the parser, and the description.

    Args:
        parser: the parser to start from.
        path: the words of the command line up to this parser.
        about: the description in the parent parser.
    """
    commands = children(parser)
    if commands is None:
        yield path, parser, parser.description or about
        return
    helps = {choice.dest: choice.help or "" for choice in commands._choices_actions}
    for name, child in commands.choices.items():
        yield from walk(child, (*path, name), helps.get(name, ""))


def children(parser: argparse.ArgumentParser) -> argparse._SubParsersAction[argparse.ArgumentParser] | None:
    """The subcommands of a parser; None if it has none."""
    return next((action for action in parser._actions if isinstance(action, argparse._SubParsersAction)), None)


def common_options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The options that all commands have."""
    return [action for action in parser._actions if _is_common(parser, action)]


def own_arguments(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The arguments of one command other than the common options and ``--help``."""
    return [action for action in parser._actions if not _is_common(parser, action) and action.dest != "help"]


def _is_common(parser: argparse.ArgumentParser, action: argparse.Action) -> bool:
    # an action of a parent parser is in the groups of both parsers, as the same object
    return any(group.title == COMMON and action in group._group_actions for group in parser._action_groups)


def usage(path: Sequence[str], parser: argparse.ArgumentParser) -> str:
    """The usage of a command in one line; if it is too long, ``[OPTIONS]`` replaces all but the required options."""
    own = own_arguments(parser)
    text = " ".join([*path, *_usage(parser, own)])
    if len(text) <= _LONGEST_USAGE:
        return text
    needed = [action for action in own if action.required or not action.option_strings]
    return " ".join([*path, *_usage(parser, needed), "[OPTIONS]"])


def _usage(parser: argparse.ArgumentParser, actions: Sequence[argparse.Action]) -> Iterator[str]:
    done: set[int] = set()
    for action in actions:
        if id(action) in done:
            continue
        group = next((one for one in parser._mutually_exclusive_groups if action in one._group_actions), None)
        if group is None:
            yield _in_usage(action)
            continue
        done.update(id(member) for member in group._group_actions)
        choices = " | ".join(_invocation(member) for member in group._group_actions)
        yield f"({choices})" if group.required else f"[{choices}]"


def _in_usage(action: argparse.Action) -> str:
    text = _invocation(action)
    if not action.option_strings:
        return text
    dots = "…" if isinstance(action, argparse._AppendAction) else ""
    return (text if action.required else f"[{text}]") + dots


def _invocation(action: argparse.Action) -> str:
    """The longest option string with its value, or the notation of a positional argument."""
    return max(forms(action), key=len)


def forms(action: argparse.Action) -> list[str]:
    """All forms of an argument: each option string with its value, or the notation of a positional argument."""
    if not action.option_strings:
        return [_value(action)]
    value = "" if action.nargs == 0 else " " + _value(action)
    return [option + value for option in action.option_strings]


def _value(action: argparse.Action) -> str:
    if isinstance(action.metavar, tuple):
        return " ".join(action.metavar)
    if action.metavar is not None:
        name = action.metavar
    elif action.choices is not None:
        name = "{" + ",".join(str(choice) for choice in action.choices) + "}"
    else:
        name = action.dest.upper() if action.option_strings else action.dest
    if action.nargs == "?":
        return f"[{name}]"
    if action.nargs in ("*", "+"):
        return f"[{name}…]" if action.nargs == "*" else f"{name}…"
    return " ".join([name] * action.nargs) if isinstance(action.nargs, int) and action.nargs else name


def help_text(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    """The help text of an argument, including its default."""
    if isinstance(action, argparse._VersionAction):
        return "print the version and exit"  # the wording of argparse has changed between versions
    return (action.help or "") % {**vars(action), "prog": parser.prog.partition(" ")[0]}
