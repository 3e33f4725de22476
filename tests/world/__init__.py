"""An in-memory world for the client: a device, its disk, its boot loader, a server, time, and power failures.

The fakes implement ``core.ports`` faithfully; the server's rules are the dev server's. A test builds a ``World``, lets
something happen at a chosen effect, and checks the result afterwards.
"""

from .device import NEW, OLD, SUB_UPDATER, Options, World
from .gates import TimedGates
from .modules import ModuleOptions
from .power import Blow, Cut, Damage, Kind, Power
from .server import STORAGE, URL, Answer, Fault, Lost, Refused, Rule, at
from .stage import Stage, build_artifact, make_stage

__all__ = [
    "NEW",
    "OLD",
    "STORAGE",
    "SUB_UPDATER",
    "URL",
    "Answer",
    "Blow",
    "Cut",
    "Damage",
    "Fault",
    "Kind",
    "Lost",
    "ModuleOptions",
    "Options",
    "Power",
    "Refused",
    "Rule",
    "Stage",
    "TimedGates",
    "World",
    "at",
    "build_artifact",
    "make_stage",
]
