"""What is installed, for ``show-artifact`` and ``show-provides``; software without a name is given one first."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

from mender_client.app.artifact.files import FileStream
from mender_client.app.assemble import DeviceParts
from mender_client.app.config import Config, load_config
from mender_client.app.exitcodes import ExitCode
from mender_client.app.host import Host
from mender_client.app.installer import chooses_sub_updater
from mender_client.app.paths import Paths
from mender_client.client.bootstrap import name_software
from mender_client.core.artifact import ArtifactReader
from mender_client.core.model import UNKNOWN_ARTIFACT_NAME, Provides
from mender_client.core.record import Record
from mender_client.dataclass import replace
from mender_client.errors import ConfigError, MenderError, StorageError
from mender_client.system.files import read_text, remove_file


def show_artifact(paths: Paths) -> ExitCode:
    """Print the name of the installed Artifact.

    Raises:
        MenderError: artifact_info can't be read, or has no name where the device's sub-updater should have written it.
    """
    return _show(paths, lambda provides: iter([provides.artifact_name]))


def show_provides(paths: Paths, *, is_json: bool) -> ExitCode:
    """Print everything that is known of the installed software; raises as ``show_artifact``."""

    def lines(provides: Provides) -> Iterator[str]:
        values = {"artifact_name": provides.artifact_name, **dict(sorted(provides.others.items()))}
        if is_json:
            yield json.dumps(values, indent=1)
        else:
            yield from (f"{key}={value}" for key, value in values.items())

    return _show(paths, lines)


def _show(paths: Paths, lines: Callable[[Provides], Iterator[str]]) -> ExitCode:
    try:
        config = load_config(paths.config, paths.fallback_config, is_server_needed=False).config
    except ConfigError:
        config = Config()  # whatever is wrong with it says nothing of what is installed
    if paths.artifact_info.exists():
        read_text(paths.artifact_info)  # what can't be read must not pass for unknown
    with closing(offline_parts(config, paths)) as parts:
        if not ensure_name(parts, config):
            return ExitCode.FAILED
        provides = _record(parts).provides(parts.scripted_device.software())
        if provides.artifact_name == UNKNOWN_ARTIFACT_NAME and chooses_sub_updater(config, paths):
            text = f"cannot find the artifact name: {paths.artifact_info} has no line artifact_name=NAME"
            raise MenderError("USE03", text, remedy="add that line")
        for line in lines(provides):
            print(line)
    return ExitCode.DONE


def offline_parts(config: Config, paths: Paths) -> DeviceParts:
    """The device without its servers: what is wrong with certificates or keys does no harm here."""
    without = replace(
        config, server_certificate="", client_certificate="", client_key="", auth_private_key="", skip_verify=False
    )
    return DeviceParts(Host(without, paths, environment={}), without, paths)


def ensure_name(parts: DeviceParts, config: Config) -> bool:
    """Give software without a name that of the bootstrap Artifact, which is removed in every case.

    Returns:
        Whether nothing failed. Nothing is done where the device's sub-updater installs, nor by a user who may not.

    Raises:
        StorageError: the state file can't be used.
    """
    path, device = parts.paths.bootstrap, parts.scripted_device
    if chooses_sub_updater(config, parts.paths):
        return True
    is_named = _record(parts).software is not None or device.software().artifact_name != UNKNOWN_ARTIFACT_NAME
    is_good = True
    if not is_named and parts.paths.data.is_dir():
        with ExitStack() as stack:

            def open_artifact() -> ArtifactReader:
                return ArtifactReader(stack.enter_context(FileStream(str(path))))

            wanted = open_artifact if path.exists() else None
            try:
                is_good = name_software(parts.journal, device, device.save_provides, wanted)
            except StorageError:
                if wanted is not None:
                    raise
    if path.exists():
        remove_file(path)
    return is_good


def _record(parts: DeviceParts) -> Record:
    try:
        return parts.journal.peek()[0]
    except StorageError:
        return Record()  # another user asks, who may only read artifact_info
