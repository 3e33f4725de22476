"""Loads urllib3 without what this program never uses of it: the daemon stays for months, on devices with little memory.

urllib3 2 asks ``importlib.metadata`` for versions when HTTP/2 is switched on, which nobody does here. Only importing it
brings readers of zip and CSV files, resources and temporary files: 0.9 MiB in the running daemon, and time to start.
"""

from __future__ import annotations

import sys
from types import ModuleType

_HEAVY = "importlib.metadata"


def load_urllib3() -> None:
    """Import urllib3, with a stand-in that loads ``importlib.metadata`` when somebody does ask it for a version."""
    if _HEAVY in sys.modules or "urllib3" in sys.modules:
        return
    stand_in = ModuleType(_HEAVY)
    stand_in.version = _version  # type: ignore[attr-defined]
    sys.modules[_HEAVY] = stand_in
    try:
        import urllib3  # noqa: F401
    finally:
        del sys.modules[_HEAVY]


def _version(name: str) -> str:
    from importlib.metadata import version

    return version(name)
