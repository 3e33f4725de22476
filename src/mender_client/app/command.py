"""The shell command that calls the program for this device, and remedies that contain it.

A remedy names a command of the program by what is typed on a device. In a directory, or for a device of a gateway, the
options that select the device are part of it: without them, the same command would act on this machine.
"""

from __future__ import annotations

from mender_client import TYPE_CHECKING

if TYPE_CHECKING:
    from mender_client.commandline import Options

PROGRAM = "mender-python-client"
_PLACES = ("root", "config", "fallback_config", "data", "devices", "device")


def command_of(options: Options) -> str:
    """The shell command that calls the program for the device that the common options select."""
    given = [(name, value) for name in _PLACES if (value := getattr(options, name, None)) is not None]
    if not given:
        return PROGRAM
    from shlex import join  # imported only where a command is shown

    return join([PROGRAM, *(word for name, value in given for word in (f"--{name.replace('_', '-')}", value))])


def completed(text: str, command: str) -> str:
    """A message in which every command of the program is called as ``command``."""
    if command == PROGRAM or PROGRAM not in text:
        return text
    before, *parts = text.split(f"{PROGRAM} ")
    return before + "".join(f"{command if part[:1].islower() else PROGRAM} {part}" for part in parts)
