"""What the client says when something is wrong, collected from its code: ``docs/guide/troubleshooting.md`` has it all.

A message is a text that stands in the code in one of these places:

- it begins with ``cannot``, as our errors do, or ends with a semicolon and the next step;
- it is in a ``raise``: of one of our errors, or of a ``ValueError`` whose words become a part of one;
- it is handed to a function that makes an error of it (``MAKERS``), or put into a list of problems;
- it is logged as a warning or an error.

Each becomes a template: what is known only at run time is ``…``. What ``doctor`` finds is left out: the page has an
entry for each of its checks. Run as a program, this prints the messages with their places.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

PACKAGE = Path(__file__).resolve().parents[1] / "src/mender_client"
GAP = "…"
ROOMS = ("app", "client", "core", "installers", "system", "embedding.py", "errors.py")
MAKERS = {
    "storage_error": "cannot {} …: …",
    "refusal": "{}",
    "Fault": "{}",
    "_error": "{}",
    "warning": "{}",
    "error": "{}",
    "critical": "{}",
}
"""Functions that make a message of their texts, and what they put around them."""

_ADVICE = re.compile(r"\S; [a-z].*[^.]$")
_PERCENT = re.compile(r"%(?:\.\d+)?[sdrfg]")


@dataclass(frozen=True, slots=True, order=True)
class Message:
    """A text that a user may read.

    Attributes:
        template: its words, with ``…`` for what is known only at run time.
        place: the file below the package, and the line.
    """

    template: str
    place: str


def collect() -> list[Message]:
    """All messages of the client, each template once."""
    found: dict[str, str] = {}
    for room in ROOMS:
        path = PACKAGE / room
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            if "doctor" not in file.parts:
                for line, template in find(ast.parse(file.read_text("utf-8"))):
                    found.setdefault(template, f"{file.relative_to(PACKAGE)}:{line}")
    return sorted(Message(template, place) for template, place in found.items())


def find(node: ast.AST) -> Iterator[tuple[int, str]]:
    """The messages below a node, with their lines; one may come twice."""
    if isinstance(node, ast.Raise) and node.exc is not None and _callee(node.exc) != "AssertionError":
        yield from _texts(node.exc)
    elif isinstance(node, ast.Call) and (_callee(node) in MAKERS or _collects(node)):
        yield from _texts(node)
    for child in ast.iter_child_nodes(node):
        if _is_text(child):
            template = _template(child)
            if template.startswith("cannot ") or (_ADVICE.search(template) and _may_advise(node)):
                yield child.lineno, template
        else:
            yield from find(child)


def _texts(node: ast.AST, frame: str = "{}") -> Iterator[tuple[int, str]]:
    """The outermost texts of an expression, if they have more than a word to say."""
    if isinstance(node, ast.Subscript | ast.Compare | ast.keyword):
        return
    if _is_text(node):
        template = frame.format(_template(node))
        if " " in template.replace(GAP, "").strip(" :;,.()"):
            yield node.lineno, template
        return
    for child in ast.iter_child_nodes(node):
        yield from _texts(child, MAKERS.get(_callee(node), frame))


def _is_text(node: ast.AST) -> TypeGuard[ast.Constant | ast.JoinedStr]:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _template(text: ast.Constant | ast.JoinedStr) -> str:
    if isinstance(text, ast.Constant):
        return " ".join(_PERCENT.sub(GAP, str(text.value)).split())
    pieces = (str(one.value) if isinstance(one, ast.Constant) else GAP for one in text.values)
    return " ".join("".join(pieces).replace(GAP + GAP, GAP).split())


def _callee(node: ast.AST) -> str:
    function = node.func if isinstance(node, ast.Call) else None
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _collects(node: ast.Call) -> bool:
    return _callee(node) == "append" and ast.unparse(node.func).endswith(("problems.append", "warnings.append"))


def _may_advise(node: ast.AST) -> bool:
    """Whether a text there is a fault: no docstring, no help of an option, no line that only tells what goes on."""
    if isinstance(node, ast.Call):
        return _callee(node) == "append" or any(one.arg == "file" for one in node.keywords)
    return not isinstance(node, ast.Expr | ast.keyword)


if __name__ == "__main__":
    for message in sorted(collect(), key=lambda one: one.place):
        print(f"{message.place}: {message.template}")
