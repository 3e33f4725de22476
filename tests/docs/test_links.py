"""All links have a target."""

from __future__ import annotations

from pathlib import Path

import pytest

from .pages import PAGES, PROJECT, anchors, links, name


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_relative_links_and_anchors_resolve(page: Path) -> None:
    """Every relative link in a document leads to a file of the project, and its anchor to a heading there."""
    broken = []
    for link in links(page):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        is_there = target.exists() and target.is_relative_to(PROJECT)
        if not is_there or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert [] == broken


def test_every_document_can_be_found() -> None:
    """Every page below docs is linked from another one."""
    linked = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in PAGES
        for link in links(page)
        if not link.startswith(("http", "#"))
    }
    below_docs = [page for page in PAGES if page.is_relative_to(PROJECT / "docs")]
    assert [] == [name(page) for page in below_docs if page not in linked]
