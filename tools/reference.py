"""Writes the generated parts of the reference pages: the keys of ``mender.conf`` and the command line.

    python tools/reference.py            write them
    python tools/reference.py --check    only say which page is stale; exit code 1 when one is

The prose of a page is written by hand; what stands between the marks ``<!-- generated: NAME -->`` and
``<!-- end -->`` is replaced. The text is made from the parser's actions and not from argparse's own help, which differs
with the width of the terminal and the version of Python.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "src"))

from mender_client.app.cli import PROGRAM, build_parser  # noqa: E402 - the checkout's own package
from mender_client.app.config import ACCEPTED_KEYS, KEYS, RETIRED_KEYS  # noqa: E402

COMMON = "common options"
_LONGEST_USAGE = 120
_BLOCK = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->\n)", re.DOTALL)


def render(page: str) -> str:
    """The page with its generated parts as they must be.

    Raises:
        KeyError: a mark names a part that there is not.
    """
    return _BLOCK.sub(lambda match: f"{match[1]}\n{_PARTS[match[2]]()}\n{match[3]}", page)


# -- mender.conf ---------------------------------------------------------------------------------------------


def _keys() -> str:
    rows = [(f"`{key.name}`", key.form, _default(key.default), key.help) for key in KEYS]
    return _table(("key", "value", "default", "meaning"), rows)


def _default(value: object) -> str:
    if value in ("", ()):
        return "none"
    return f"`{str(value).lower()}`" if isinstance(value, bool) else f"`{value}`"


def _names(names: Sequence[str]) -> str:
    return "".join(f"- `{name}`\n" for name in names)


# -- the command line ----------------------------------------------------------------------------------------


def _common_options() -> str:
    parser = build_parser()
    return _arguments([action for action in parser._actions if _is_common(parser, action)])


def _commands() -> str:
    return "\n".join(_command(path, parser, about) for path, parser, about in walk(build_parser(), (PROGRAM,)))


def walk(
    parser: argparse.ArgumentParser, path: tuple[str, ...], about: str = ""
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser, str]]:
    """Every command that does something: the words that call it, its parser, and what it is about.

    Args:
        parser: where to begin.
        path: the words that lead there.
        about: what the parser above says of it.
    """
    children = _children(parser)
    if children is None:
        yield path, parser, parser.description or about
        return
    helps = {choice.dest: choice.help or "" for choice in children._choices_actions}
    for name, child in children.choices.items():
        yield from walk(child, (*path, name), helps.get(name, ""))


def _children(parser: argparse.ArgumentParser) -> argparse._SubParsersAction[argparse.ArgumentParser] | None:
    return next((action for action in parser._actions if isinstance(action, argparse._SubParsersAction)), None)


def _command(path: tuple[str, ...], parser: argparse.ArgumentParser, about: str) -> str:
    own = [action for action in parser._actions if not _is_common(parser, action) and action.dest != "help"]
    usage = " ".join([*path, *_usage(parser, own)])
    if len(usage) > _LONGEST_USAGE:
        needed = [action for action in own if action.required or not action.option_strings]
        usage = " ".join([*path, *_usage(parser, needed), "[OPTIONS]"])
    text = f"### {' '.join(path[1:])}\n\n    {usage}\n\n{about[:1].upper()}{about[1:].rstrip('.')}.\n"
    return f"{text}\n{_arguments(own)}" if own else text


def _is_common(parser: argparse.ArgumentParser, action: argparse.Action) -> bool:
    # a parent's action is listed in both parsers' groups; it is the same object in each
    return any(group.title == COMMON and action in group._group_actions for group in parser._action_groups)


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
    if not action.option_strings:
        return _value(action)
    value = "" if action.nargs == 0 else " " + _value(action)
    return max(action.option_strings, key=len) + value


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


def _arguments(actions: Sequence[argparse.Action]) -> str:
    return _table(("argument", "meaning"), [(_forms(action), _help(action)) for action in actions])


def _forms(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{_value(action)}`"
    value = "" if action.nargs == 0 else " " + _value(action)
    return ", ".join(f"`{option}{value}`" for option in action.option_strings)


def _help(action: argparse.Action) -> str:
    if isinstance(action, argparse._VersionAction):
        return "print the version and exit"  # argparse's own words changed
    return (action.help or "") % {**vars(action), "prog": PROGRAM}


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


_PARTS = {
    "keys": _keys,
    "accepted-keys": lambda: _names(ACCEPTED_KEYS),
    "retired-keys": lambda: _names(RETIRED_KEYS),
    "common-options": _common_options,
    "commands": _commands,
}

PAGES = tuple(PROJECT / "docs/reference" / name for name in ("configuration.md", "command-line.md"))


def main() -> int:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description="Write the generated parts of the reference pages.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 when a page is stale")
    options = parser.parse_args()
    stale = [page for page in PAGES if render(text := page.read_text("utf-8")) != text]
    for page in stale:
        if options.check:
            print(f"{page.relative_to(PROJECT)} is stale: run python tools/reference.py", file=sys.stderr)
        else:
            page.write_text(render(page.read_text("utf-8")), "utf-8")
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
