"""The documents of the project, read as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PAGES = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("demo/*.md"), *PROJECT.glob("docs/**/*.md")])

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        language: the info string of the fence.
        text: its lines, without the indent of the fence.
    """

    language: str
    text: str


def name(page: Path) -> str:
    """The name of the page for readers."""
    return str(page.relative_to(PROJECT))


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    for indent, language, text in _FENCE.findall(page.read_text("utf-8")):
        yield Block(language, _without_indent(text, indent))


def _without_indent(text: str, indent: str) -> str:
    return "".join(line.removeprefix(indent) for line in text.splitlines(keepends=True))


def examples(page: Path) -> Iterator[tuple[str, Block]]:
    """The fenced blocks of a page, each with the heading of its section."""
    text = page.read_text("utf-8")
    places = [(found.start(), Block(found[2], _without_indent(found[3], found[1]))) for found in _FENCE.finditer(text)]
    inside = [range(*found.span()) for found in _FENCE.finditer(text)]
    headings = [
        (found.start(), found[1])
        for found in _HEADING.finditer(text)
        if not any(found.start() in span for span in inside)
    ]
    for place, block in places:
        yield [title for start, title in headings if start < place][-1], block


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", page.read_text("utf-8"))


def links(page: Path) -> list[str]:
    """The targets of the page's links."""
    return _LINK.findall(_CODE.sub("``", prose(page)))


def anchors(page: Path) -> set[str]:
    """The anchors of the page's headings."""
    found: set[str] = set()
    for heading in _HEADING.findall(prose(page)):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        count = sum(1 for one in found if one == slug or re.fullmatch(rf"{re.escape(slug)}-\d+", one))
        found.add(f"{slug}-{count}" if count else slug)
    return found


def row(page: Path, first: str) -> list[str]:
    """The cells of the table row that begins with the given cell.

    Raises:
        LookupError: there is no such row.
    """
    for line in prose(page).splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if line.startswith("|") and cells[0] == first:
            return cells
    raise LookupError(f"{name(page)} has no row that begins with {first}")
