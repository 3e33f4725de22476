"""The common part of the tools that generate files in the tree: write the files that differ, or only report them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path


def write_all(files: Mapping[Path, str]) -> int:
    """Write the files or, with ``--check`` on the command line, only compare them.

    Args:
        files: the required content of each file.

    Returns:
        The exit code: 1 if ``--check`` has found a stale file.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 when a file is stale")
    options = parser.parse_args()
    stale = [file for file, text in files.items() if not file.exists() or file.read_text("utf-8") != text]
    for file in stale:
        if options.check:
            print(f"{file.name} is stale: run make docs", file=sys.stderr)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(files[file], "utf-8")
    return 1 if stale and options.check else 0
