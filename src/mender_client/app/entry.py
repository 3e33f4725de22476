"""Entry point. Scripts on slow machines ask for the version, so it is printed before anything else is loaded."""

from __future__ import annotations

import sys

from mender_client import __version__


def main() -> int:
    """Run ``mender-python-client``, or ``mender-update`` if called by that name, with this process's arguments."""
    if sys.argv[1:] == ["--version"]:
        print(f"mender-python-client {__version__}")
        return 0
    from .deferred import defer_modules

    defer_modules()
    from .cli import main as run

    if sys.argv[0].rpartition("/")[2] == "mender-update":
        from .mender_update import MENDER_UPDATE

        return run(program=MENDER_UPDATE)
    return run()
