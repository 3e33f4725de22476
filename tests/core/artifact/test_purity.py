"""The Artifact code is pure: it accesses no files, network, clock or processes."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mender_client.core.artifact

DIRECTORY = Path(mender_client.core.artifact.__file__).parent
IMPURE = {"os", "socket", "time", "subprocess", "logging", "pathlib", "threading", "tempfile", "shutil", "select"}


@pytest.mark.parametrize("path", sorted(DIRECTORY.glob("*.py")), ids=lambda path: path.name)
def test_nothing_impure_is_imported_or_opened(path: Path) -> None:
    """No impure module is imported, not even lazily, and neither ``open`` nor ``print`` is called."""
    tree = ast.parse(path.read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert IMPURE.isdisjoint(name.split(".")[0] for name in imported)
    assert called.isdisjoint({"open", "print", "input", "exec", "eval"})


def test_importing_it_loads_no_decompressor() -> None:
    """A device that never reads an xz or zstd Artifact doesn't load their decompressors."""
    heavy = "{'lzma', 'zstandard', 'tarfile'}"
    code = f"import sys, mender_client.core.artifact; print(sorted({heavy} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
