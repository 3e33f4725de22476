"""What a program's parser says of its commands, for whoever writes pages about them.

Everything is made from the parser's actions and not from argparse's own help, which differs with the width of the
terminal and the version of Python.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

COMMON = "common options"
"""The heading of the options that every command takes, see ``mender_client.commandline``."""
_LONGEST_USAGE = 120


def walk(
    parser: argparse.ArgumentParser, path: tuple[str, ...], about: str = ""
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser, str]]:
    """Every command that does something: the words that call it, its parser, and what it is about.

    Args:
        parser: where to begin.
        path: the words that lead there.
        about: what the parser above says of it.
    """
    commands = children(parser)
    if commands is None:
        yield path, parser, parser.description or about
        return
    helps = {choice.dest: choice.help or "" for choice in commands._choices_actions}
    for name, child in commands.choices.items():
        yield from walk(child, (*path, name), helps.get(name, ""))


def children(parser: argparse.ArgumentParser) -> argparse._SubParsersAction[argparse.ArgumentParser] | None:
    """The commands below a parser; None when it has none."""
    return next((action for action in parser._actions if isinstance(action, argparse._SubParsersAction)), None)


def common_options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The options that every command has."""
    return [action for action in parser._actions if _is_common(parser, action)]


def own_arguments(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """What one command has beyond those, and beyond ``--help``."""
    return [action for action in parser._actions if not _is_common(parser, action) and action.dest != "help"]


def _is_common(parser: argparse.ArgumentParser, action: argparse.Action) -> bool:
    # a parent's action is listed in both parsers' groups; it is the same object in each
    return any(group.title == COMMON and action in group._group_actions for group in parser._action_groups)


def usage(path: Sequence[str], parser: argparse.ArgumentParser) -> str:
    """One line that shows how a command is called; where it would be too long, only what is needed."""
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
    """The longest option with its value, or the words of a positional argument."""
    return max(forms(action), key=len)


def forms(action: argparse.Action) -> list[str]:
    """Every way to write an argument: each option with its value, or the words of a positional one."""
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
    """What an argument is for, its default filled in."""
    if isinstance(action, argparse._VersionAction):
        return "print the version and exit"  # argparse's own words changed
    return (action.help or "") % {**vars(action), "prog": parser.prog.partition(" ")[0]}
