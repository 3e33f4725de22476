"""Names software that has no name yet, from the bootstrap Artifact, before anything else needs the name."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing

from mender_client.app.artifact.files import FileStream
from mender_client.app.assemble import DeviceParts
from mender_client.app.config import Config, load_config
from mender_client.app.host import Host
from mender_client.app.installer import chooses_sub_updater
from mender_client.app.paths import Paths
from mender_client.client.bootstrap import name_software
from mender_client.core.artifact import ArtifactReader
from mender_client.core.model import UNKNOWN_ARTIFACT_NAME
from mender_client.dataclass import replace
from mender_client.errors import ConfigError, MenderError, StorageError
from mender_client.system.files import remove_file


def name_installed(paths: Paths) -> bool:
    """Load the configuration, and call ``ensure_name``.

    Raises:
        MenderError: the device's sub-updater should have written a name but has not; or as ``ensure_name``.
    """
    try:
        config = load_config(paths.config, paths.fallback_config, is_server_needed=False).config
    except ConfigError:
        config = Config()  # its errors do not affect what is installed
    with closing(offline_parts(config, paths)) as parts:
        is_named = parts.scripted_device.software().artifact_name != UNKNOWN_ARTIFACT_NAME
        if not is_named and chooses_sub_updater(config, paths):
            text = f"cannot find the artifact name: {paths.artifact_info} has no line artifact_name=NAME"
            raise MenderError("USE03", text, remedy="add that line")
        return ensure_name(parts, config)


def offline_parts(config: Config, paths: Paths) -> DeviceParts:
    """The parts of the device without its servers, so that faulty certificates or keys do no harm."""
    without = replace(
        config, server_certificate="", client_certificate="", client_key="", auth_private_key="", skip_verify=False
    )
    return DeviceParts(Host(without, paths, environment={}), without, paths)


def ensure_name(parts: DeviceParts, config: Config) -> bool:
    """Give software without a name that of the bootstrap Artifact, which is then removed, even after a failure.

    If the device's sub-updater installs updates, nothing is done.

    Returns:
        Whether nothing has failed.

    Raises:
        StorageError: there is a bootstrap Artifact, and its provides can't be stored.
    """
    path = parts.paths.bootstrap
    if chooses_sub_updater(config, parts.paths):
        return True
    try:
        return _is_named(parts) or _take_name(parts)
    except StorageError:
        if os.path.exists(path):
            raise
        return True  # the caller may not write, or the disk is read-only
    finally:
        if os.path.exists(path):
            remove_file(path)


def _is_named(parts: DeviceParts) -> bool:
    is_stored = parts.journal.load().software is not None
    return is_stored or parts.scripted_device.software().artifact_name != UNKNOWN_ARTIFACT_NAME


def _take_name(parts: DeviceParts) -> bool:
    path, device = parts.paths.bootstrap, parts.scripted_device
    with ExitStack() as stack:

        def open_artifact() -> ArtifactReader:
            return ArtifactReader(stack.enter_context(FileStream(str(path))))

        wanted = open_artifact if os.path.exists(path) else None
        return name_software(parts.journal, device, device.save_provides, wanted)
