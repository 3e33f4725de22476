"""The settings of a gateway's device: its own, then the gateway's, except those that concern the gateway itself."""

from __future__ import annotations

from collections.abc import Mapping

from mender_client import TYPE_CHECKING
from mender_client.app.config import Config, examine
from mender_client.app.paths import Paths
from mender_client.dataclass import replace

if TYPE_CHECKING:
    from typing import Any

_OF_THE_MACHINE: Mapping[str, tuple[str, Any]] = {
    "Security.AuthPrivateKey": ("auth_private_key", ""),
    "DeviceTypeFile": ("device_type_file", ""),
    "UpdateLogPath": ("update_log_path", ""),
    "RootfsPartA": ("rootfs_part_a", ""),
    "RootfsPartB": ("rootfs_part_b", ""),
    "AdaptiveSeeds": ("adaptive_seeds", ()),
}
"""Settings for the gateway's own key, files and partitions, which don't apply to its devices, with their defaults."""


def settings_of(config: Config, paths: Paths) -> Config:
    """The settings for a device.

    Args:
        config: the device's own settings and the gateway's, merged.
        paths: the device's files.
    """
    is_own = paths.config != paths.fallback_config
    if config.spool_artifact == "auto":
        config = replace(config, spool_artifact="never")  # devices share the Artifacts that are on disk already
    own = examine(paths.config, paths.config, is_server_needed=False).values if is_own else {}
    return replace(config, **{name: value for key, (name, value) in _OF_THE_MACHINE.items() if key not in own})
