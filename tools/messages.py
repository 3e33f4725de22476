"""Writes the section on messages of ``docs/guide/troubleshooting.md`` from the code.

A message is a call with a literal code as its first argument: a ``Diagnostic``, one of the client's errors, or the
constructor that such an error inherits. Its text becomes a template, in which ``…`` represents values known only at run
time. A message without a code and a code used by two messages are errors; an error may pass on the code of another one.
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fresh import write_all
from message_areas import AREAS, NOTES

PROJECT = Path(__file__).resolve().parents[1]
PACKAGE = PROJECT / "src/mender_client"
PAGE = PROJECT / "docs/guide/troubleshooting.md"
BEGIN = "<!-- written by tools/messages.py from here on -->\n"
GAP = "…"
CLASSES = "errors.py"
"""The file in the package that defines the error classes and contains no messages."""

_CODE = re.compile(r"[A-Z]{3}[0-9]{2}")
_ROOTS = frozenset({"Diagnostic", "MenderError"})
_CODED_BY_THEMSELVES = frozenset({"ProgramError", "UnusableKeyError"})
"""Errors whose constructors contain the code."""


@dataclass(frozen=True, slots=True, order=True)
class Message:
    """A message that a user may read.

    Attributes:
        code: its code.
        template: its text, with ``…`` for values known only at run time.
        remedy: the remedy, in the same form.
        place: the file in the package, and the line.
    """

    code: str
    template: str
    remedy: str
    place: str


class Problems(Exception):
    """Violations of the rules for messages, with one line for each."""


def collect() -> list[Message]:
    """Collect all messages of the client, sorted by code.

    Raises:
        Problems: a call has no code, or a code has two messages.
    """
    trees = {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text("utf-8")) for path in _sources()}
    families = _families(trees.values())
    problems: list[str] = []
    found: dict[str, Message] = {}
    for name, tree in trees.items():
        for message in find(tree, families, name):
            if not message.code:
                if name != CLASSES:
                    problems.append(f"{message.place}: has no code: {message.template}")
            elif found.setdefault(message.code, message).template != message.template:
                problems.append(f"{message.place}: {message.code} has another text at {found[message.code].place}")
    problems += [f"{one.place}: unknown area {one.code}" for one in found.values() if one.code[:3] not in AREAS]
    if problems:
        raise Problems("\n".join(problems))
    return sorted(found.values())


def find(tree: ast.Module, families: frozenset[str], name: str) -> Iterator[Message]:
    """The messages of a module; those without a code have an empty one.

    Args:
        tree: the module.
        families: the names of the classes that create messages.
        name: the name of the file.
    """
    constants = _texts_by_name(tree.body)
    for node, scope, statement in _calls(tree, tree, None):
        if not _is_message(node, families):
            continue
        names = {**constants, **_texts_by_name(ast.walk(scope), statement)}
        code = _code(node)
        text = node.args[1 if code else 0]
        remedy = next((one.value for one in node.keywords if one.arg == "remedy"), None)
        if remedy is None and code and len(node.args) > 2:
            remedy = node.args[2]
        shown = "" if remedy is None else _template(remedy, names)
        yield Message(code, _template(text, names), "" if shown == GAP else shown, f"{name}:{node.lineno}")


def _calls(
    node: ast.AST, scope: ast.AST, statement: ast.stmt | None
) -> Iterator[tuple[ast.Call, ast.AST, ast.stmt | None]]:
    """The calls below a node, each with the enclosing function or module and the enclosing statement."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call):
            yield child, scope, statement
        yield from _calls(
            child,
            child if isinstance(child, ast.FunctionDef) else scope,
            child if isinstance(child, ast.stmt) else statement,
        )


def write(messages: list[Message]) -> str:
    """Format the section on messages."""
    parts = []
    for area, (heading, introduction) in AREAS.items():
        entries = [_entry(one) for one in messages if one.code.startswith(area)]
        said = textwrap.fill(introduction, 120, break_long_words=False, break_on_hyphens=False)
        parts.append(f"### {heading}\n\n{said}\n" + ("\n" + "".join(entries) if entries else ""))
    return "\n".join(parts)


def page() -> str:
    """The whole page: the part written by hand, and the messages."""
    written, _, _ = PAGE.read_text("utf-8").partition(BEGIN)
    return f"{written}{BEGIN}\n{write(collect())}"


def _entry(message: Message) -> str:
    lines = [f'- <a id="{message.code.lower()}"></a>**{message.code}** `{message.template}`']
    lines += [f"  <br>`→ {message.remedy}`"] if message.remedy else []
    note = NOTES.get(message.code, "")
    lines += [textwrap.fill(f"<br>{note}", 120, initial_indent="  ", subsequent_indent="  ")] if note else []
    return "\n".join(lines) + "\n"


def _sources() -> Iterator[Path]:
    yield from sorted(PACKAGE.rglob("*.py"))


def _families(trees: Iterable[ast.Module]) -> frozenset[str]:
    """The classes that create messages; ``ConfigError`` is not one, as it takes a list of messages."""
    bases: Mapping[str, list[str]] = {
        node.name: [getattr(base, "id", "") for base in node.bases]
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found = set(_ROOTS)
    while more := {name for name, above in bases.items() if found.intersection(above)} - found - {"ConfigError"}:
        found |= more
    return frozenset(found - _CODED_BY_THEMSELVES)


def _is_message(call: ast.Call, families: frozenset[str]) -> bool:
    if not call.args or (isinstance(call.args[0], ast.Attribute) and call.args[0].attr == "code"):
        return False
    return _code(call) != "" or _callee(call) in families


def _code(call: ast.Call) -> str:
    """The code in a call; empty if there is none."""
    first = call.args[0]
    is_text = isinstance(first, ast.Constant) and isinstance(first.value, str) and len(call.args) > 1
    return str(first.value) if is_text and isinstance(first, ast.Constant) and _CODE.fullmatch(str(first.value)) else ""


def _callee(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _texts_by_name(nodes: Iterable[ast.AST], before: ast.stmt | None = None) -> dict[str, ast.expr]:
    """The text assigned to each name: the last one before a statement at its indentation, otherwise the first one."""
    assigned = [node for node in nodes if isinstance(node, ast.Assign)]
    given = [(node.targets[0].id, node) for node in assigned if isinstance(node.targets[0], ast.Name)]
    found = {name: node.value for name, node in reversed(given)}
    if before is not None:
        above = [(name, node) for name, node in given if node.col_offset == before.col_offset]
        above = [(name, node) for name, node in above if node.lineno < before.lineno]
        found |= {name: node.value for name, node in sorted(above, key=lambda one: one[1].lineno)}
    return found


def _template(node: ast.expr, names: Mapping[str, ast.expr]) -> str:
    return re.sub(f"{GAP}+", GAP, " ".join(_raw(node, names, 3).split()))


def _raw(node: ast.expr, names: Mapping[str, ast.expr], depth: int) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_raw(one, names, depth) for one in node.values)
    if isinstance(node, ast.FormattedValue) and isinstance(node.value, ast.Name):
        value = names.get(node.value.id)
        return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else GAP
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _raw(node.left, names, depth) + _raw(node.right, names, depth)
    if isinstance(node, ast.Name) and node.id in names and depth:
        return _raw(names[node.id], names, depth - 1)
    if isinstance(node, ast.BoolOp):
        return _raw(node.values[-1], names, depth)
    return GAP


if __name__ == "__main__":
    try:
        sys.exit(write_all({PAGE: page()}))
    except Problems as problems:
        sys.exit(str(problems))
