"""Builds ``mender-python-client.pyz``: the client in one file, for devices that have only Python and openssl.

    python tools/zipapp_file.py FILE

The standard library's ``zipapp`` preserves timestamps, modes and the order of the directory, so that builds differ;
here they are fixed.
"""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PACKAGE = PROJECT / "src/mender_client"
# the files that "setup" installs; they have the same paths in the wheel
SUPPORT = ("support/dbus", "support/identity", "support/inventory", "support/modules/v3", "support/systemd")
SHEBANG = b"#!/usr/bin/env python3\n"
MAIN = """\
import sys

if sys.version_info < (3, 10):
    sys.exit("mender-python-client: cannot run on Python %d.%d; 3.10 or newer is needed" % sys.version_info[:2])

from mender_client.app.entry import main

sys.exit(main())
"""
# the earliest timestamp that a ZIP file can store
_TIME = (1980, 1, 1, 0, 0, 0)


def write_zipapp(target: Path) -> None:
    """Write the program; the same sources and the same zlib produce the same bytes.

    Args:
        target: the file to write; it is replaced and made executable.
    """
    members = {"__main__.py": MAIN.encode(), **dict(_client())}
    with target.open("wb") as file:
        file.write(SHEBANG)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for name in sorted(members):
                info = zipfile.ZipInfo(name, _TIME)
                info.external_attr = 0o100644 << 16
                archive.writestr(info, members[name], zipfile.ZIP_DEFLATED, 9)
    target.chmod(0o755)


def _client() -> Iterator[tuple[str, bytes]]:
    """The files of the package, those that ``setup`` installs, and the licence."""
    for path in PACKAGE.rglob("*.py"):
        yield path.relative_to(PACKAGE.parent).as_posix(), path.read_bytes()
    for path in (PROJECT / "support/install", *(file for name in SUPPORT for file in (PROJECT / name).iterdir())):
        yield f"mender_client/{path.relative_to(PROJECT).as_posix()}", path.read_bytes()
    yield "licenses/mender-python-client/LICENSE", (PROJECT / "LICENSE").read_bytes()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/zipapp_file.py FILE")
    os.umask(0o022)
    write_zipapp(Path(sys.argv[1]))
