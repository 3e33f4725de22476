"""``show-artifact`` and ``show-provides``: inventory scripts call them often, so few modules are loaded."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator

from mender_client.app.exitcodes import ExitCode
from mender_client.app.paths import Paths
from mender_client.core.keyvalue import parse_key_value_file
from mender_client.core.model import UNKNOWN_ARTIFACT_NAME, Provides
from mender_client.errors import StorageError
from mender_client.system.files import read_text
from mender_client.system.snapshot import peek_record


def show_artifact(paths: Paths) -> ExitCode:
    """Print the name of the installed Artifact.

    Raises:
        MenderError: artifact_info can't be read, or lacks the name although the device's sub-updater should write it.
    """
    return _show(paths, lambda provides: iter([provides.artifact_name]))


def show_provides(paths: Paths, *, is_json: bool) -> ExitCode:
    """Print all provides of the installed software; raises as ``show_artifact``."""

    def lines(provides: Provides) -> Iterator[str]:
        values = {"artifact_name": provides.artifact_name, **dict(sorted(provides.others.items()))}
        if is_json:
            yield json.dumps(values, indent=1)
        else:
            yield from (f"{key}={value}" for key, value in values.items())

    return _show(paths, lines)


def _show(paths: Paths, lines: Callable[[Provides], Iterator[str]]) -> ExitCode:
    provides = _installed(paths)
    if provides.artifact_name == UNKNOWN_ARTIFACT_NAME or os.path.exists(paths.bootstrap):
        from .naming import name_installed  # rare: only on a new device

        if not name_installed(paths):
            return ExitCode.FAILED
        provides = _installed(paths)
    for line in lines(provides):
        print(line)
    return ExitCode.DONE


def _installed(paths: Paths) -> Provides:
    info = dict(parse_key_value_file(read_text(paths.artifact_info))) if paths.artifact_info.exists() else {}
    info.pop("device_type", None)
    seen = Provides("", info.pop("artifact_name", "") or UNKNOWN_ARTIFACT_NAME, info)
    try:
        return peek_record(paths.journal)[0].provides(seen)
    except StorageError:
        return seen  # the caller is another user, who may only read artifact_info
