"""Messages: each has a unique code, which is a literal where the message is created."""

from __future__ import annotations

import ast
import functools
import re
from collections import Counter
from pathlib import Path

import mender_client
from mender_client import errors

PACKAGE = Path(mender_client.__file__).parent
SOURCES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "errors.py"]
CODE = re.compile(
    r"(API|ART|AUT|BUS|CFG|CLK|CON|DEP|DMN|DWN|FIL|GAT|GTW|IDN|INV|KEY|LOG|MOD|NET|REP|SCR|SET|SRV|SSC|STO|TLS|UPD|USE)"
    r"[0-9]{2}"
)
MAKERS = {
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.MenderError) and value is not errors.ConfigError
} | {"Diagnostic"}
"""The classes of messages, whose first argument is the code; a ``ConfigError`` consists of such messages."""


@functools.cache
def messages(path: Path) -> list[tuple[str, object]]:
    """The places in a file where messages are created, and their codes; None for a code that isn't a literal.

    A message that is created from the parts of another one keeps its code (``error.code``), and is left out.
    """
    found: list[tuple[str, object]] = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in MAKERS:
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Attribute) and first.attr == "code":
                continue
            value = first.value if isinstance(first, ast.Constant) and len(node.args) > 1 else None
            found.append((f"{path.relative_to(PACKAGE)}, line {node.lineno}", value))
    return found


def test_every_message_has_a_code() -> None:
    """Each message is created with a literal code: three letters for its subject, and two digits."""
    found = [one for path in SOURCES for one in messages(path)]
    assert [] == [where for where, code in found if not isinstance(code, str) or not CODE.fullmatch(code)]


def test_codes_are_unique() -> None:
    """No two places create messages with the same code."""
    codes = Counter(code for path in SOURCES for _, code in messages(path) if isinstance(code, str))
    assert {} == {code: count for code, count in codes.items() if count > 1}
