"""The settings that the program works with, made from the checked values of ``mender.conf``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mender_client.core.model import IdentityFormat


@dataclass(frozen=True, slots=True)
class Config:
    """The settings, checked. See ``KEYS`` for what each means; paths are as written, not below ``--root`` yet.

    ``artifact_verify_setting`` is the key that named ``artifact_verify_keys``, for messages.
    """

    server_urls: tuple[str, ...]
    tenant_token: str = field(repr=False)
    server_certificate: str
    skip_verify: bool
    client_certificate: str
    client_key: str
    auth_private_key: str
    ssl_engine: str
    artifact_verify_keys: tuple[str, ...]
    artifact_verify_setting: str
    device_type_file: str
    update_log_path: str
    daemon_log_level: str
    update_poll_seconds: int
    inventory_poll_seconds: int
    retry_poll_seconds: int
    retry_download_count: int
    download_stall_seconds: int
    download_minimum_rate: int
    download_speed_limit: int
    download_reserve_bytes: int
    sub_updater_timeout_seconds: int
    rootfs_part_a: str
    rootfs_part_b: str
    identity_format: IdentityFormat


def build_config(values: Mapping[str, Any]) -> Config:
    """The settings of a complete set of values, by the names of ``KEYS``."""
    verify_key = values["ArtifactVerifyKey"]
    return Config(
        server_urls=(values["ServerURL"],) if values["ServerURL"] else values["Servers"],
        tenant_token=values["TenantToken"],
        server_certificate=values["ServerCertificate"],
        skip_verify=values["SkipVerify"],
        client_certificate=values["HttpsClient.Certificate"],
        client_key=values["HttpsClient.Key"],
        auth_private_key=values["Security.AuthPrivateKey"],
        ssl_engine=values["Security.SSLEngine"],
        artifact_verify_keys=(verify_key,) if verify_key else values["ArtifactVerifyKeys"],
        artifact_verify_setting="ArtifactVerifyKey" if verify_key else "ArtifactVerifyKeys",
        device_type_file=values["DeviceTypeFile"],
        update_log_path=values["UpdateLogPath"],
        daemon_log_level=values["DaemonLogLevel"],
        update_poll_seconds=values["UpdatePollIntervalSeconds"],
        inventory_poll_seconds=values["InventoryPollIntervalSeconds"],
        retry_poll_seconds=values["RetryPollIntervalSeconds"],
        retry_download_count=values["RetryDownloadCount"],
        download_stall_seconds=values["DownloadStallSeconds"],
        download_minimum_rate=values["DownloadMinimumRate"],
        download_speed_limit=values["DownloadSpeedLimit"],
        download_reserve_bytes=values["DownloadReserveBytes"],
        sub_updater_timeout_seconds=values["SubUpdaterTimeoutSeconds"],
        rootfs_part_a=values["RootfsPartA"],
        rootfs_part_b=values["RootfsPartB"],
        identity_format=IdentityFormat(values["IdentityFormat"]),
    )
