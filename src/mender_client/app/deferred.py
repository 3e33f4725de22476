"""Standard-library modules that are imported lazily: they are executed when the program first uses them.

Other modules of the library import them, but need them only for rare work: to print a traceback, to check an IPv6
address in a URL, to convert a date. An idle daemon does none of this, but would keep the modules in memory.
"""

from __future__ import annotations

import sys
from _thread import RLock
from importlib.machinery import PathFinder
from types import ModuleType

DEFERRED = ("calendar", "ipaddress", "locale", "random", "traceback")

_LOCK = RLock()


def defer_modules() -> None:
    """Import these modules as empty ones, each of which is executed on the first access to one of its attributes.

    Modules that have been loaded already stay as they are.
    """
    for name in DEFERRED:
        spec = PathFinder.find_spec(name)
        if name not in sys.modules and spec is not None:
            module = sys.modules[name] = _Deferred(name)
            module.__spec__, module.__loader__, module.__file__ = spec, spec.loader, spec.origin


class _Deferred(ModuleType):
    """A module that is still empty. ``importlib.util.LazyLoader`` does the same, but isn't thread-safe."""

    def __getattr__(self, name: str) -> object:
        spec = self.__spec__
        with _LOCK:
            if type(self) is _Deferred and spec and spec.loader:  # else another thread has just executed it
                spec.loader.exec_module(self)
                self.__class__ = ModuleType  # type: ignore[assignment]
        return ModuleType.__getattribute__(self, name)
