"""A hook for mkdocs: adds pages from outside ``docs/``, and makes links work both in the tree and on the site.

In the tree, a link is relative to the file that contains it. The site has only pages: links to pages are rewritten to
their location on the site, and links to other files are replaced by the name of the file.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

PROJECT = Path(__file__).resolve().parent.parent
ADOPTED = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
    "demo/README.md": "demo.md",
}
"""Pages outside ``docs/``: the path in the tree, and the path on the site."""

_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^\s*(```|~~~)")


def on_files(files: Files, config: Any) -> Files:
    """Add the adopted pages."""
    for source, target in ADOPTED.items():
        files.append(File.generated(config, target, content=(PROJECT / source).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrite the links of a page to the locations of their targets on the site."""
    on_site = page.file.src_uri
    in_tree = next((source for source, target in ADOPTED.items() if target == on_site), f"docs/{on_site}")
    blocks: list[list[str]] = [[]]  # alternately prose and code; a link in prose may span lines
    for line in markdown.split("\n"):
        is_in_code = len(blocks) % 2 == 0
        if _FENCE.match(line):
            blocks.append([line] if not is_in_code else [])
            if is_in_code:
                blocks[-2].append(line)
        else:
            blocks[-1].append(line)
    texts = ["\n".join(block) for block in blocks]
    texts[::2] = [_LINK.sub(lambda link: _turned(link, in_tree, on_site), text) for text in texts[::2]]
    return "\n".join(texts)


def _turned(link: re.Match[str], in_tree: str, on_site: str) -> str:
    picture, text, target = link.groups()
    path, mark, anchor = target.partition("#")
    if not path or "://" in path or path.startswith("mailto:"):
        return link[0]
    place = posixpath.normpath(posixpath.join(posixpath.dirname(in_tree), path))
    if place in ADOPTED:
        there = ADOPTED[place]
    elif place.startswith("docs/") and (picture or place.endswith(".md")):
        there = place.removeprefix("docs/")
    elif (PROJECT / place).exists():
        return f"{text} (`{place}`)" if text.strip("`") != place else f"`{place}`"
    else:
        return link[0]  # broken: the strict build reports it
    return f"{picture}[{text}]({posixpath.relpath(there, posixpath.dirname(on_site) or '.')}{mark}{anchor})"
