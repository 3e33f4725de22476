"""The settings: each key of ``mender.conf`` is declared once, as a field of ``Config``.

Parser, messages, ``config explain``, JSON Schema and the generated pages read the declarations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .keys import Key, key
from .kinds import ADDRESS, BYTES, FLAG, PATHS, SECONDS, SECONDS_OR_NONE, SECRET, SERVERS, TEXT, one_of, whole

LOG_LEVELS = ("trace", "debug", "info", "notice", "warning", "warn", "error", "fatal", "panic", "critical")


@dataclass(frozen=True, slots=True)
class Config:
    """The settings, checked; paths are as written, not below ``--root`` yet."""

    server_url: str = key(
        "ServerURL",
        ADDRESS,
        "",
        "address",
        "The server. Excludes Servers.",
        example="https://mender.example.com",
    )
    servers: tuple[str, ...] = key(
        "Servers",
        SERVERS,
        (),
        'list of {"ServerURL": address}',
        "Several servers, tried in this order.",
        example=[{"ServerURL": "https://one.example.com"}, {"ServerURL": "https://two.example.com"}],
    )
    tenant_token: str = key(
        "TenantToken",
        SECRET,
        "",
        "text, secret",
        "The organisation's token on a multi-tenant server.",
        example="eyJhbGciOi…",
    )
    server_certificate: str = key(
        "ServerCertificate",
        TEXT,
        "",
        "path",
        "Certificates (PEM) trusted in addition to the system's: a file, or a directory of *.pem, *.crt and *.cer.",
        example="/etc/mender/server.crt",
    )
    skip_verify: bool = key("SkipVerify", FLAG, False, "true or false", "Trust every server. For a test bench only.")
    client_certificate: str = key(
        "HttpsClient.Certificate",
        TEXT,
        "",
        "path",
        "Client certificate (PEM) for mutual TLS.",
        example="/etc/mender/client.crt",
    )
    client_key: str = key(
        "HttpsClient.Key",
        TEXT,
        "",
        "path",
        "The private key (PEM) of HttpsClient.Certificate.",
        example="/etc/mender/client.key",
    )
    auth_private_key: str = key(
        "Security.AuthPrivateKey",
        TEXT,
        "",
        "path or pkcs11: URI",
        "Device key (PEM, or in a token) to use instead of a generated one.",
        example="/var/lib/mender/device.pem",
    )
    ssl_engine: str = key(
        "Security.SSLEngine",
        TEXT,
        "",
        "name",
        "OpenSSL engine for a pkcs11: key; default: the provider pkcs11 if it is installed, else the engine.",
        example="pkcs11",
    )
    single_verify_key: str = key(
        "ArtifactVerifyKey",
        TEXT,
        "",
        "path",
        "Public key (PEM): only Artifacts signed with it are installed.",
        example="/etc/mender/artifact-verify.pem",
    )
    verify_key_list: tuple[str, ...] = key(
        "ArtifactVerifyKeys",
        PATHS,
        (),
        "list of paths",
        "Several such keys. Excludes ArtifactVerifyKey.",
        example=["/etc/mender/old.pem", "/etc/mender/new.pem"],
    )
    device_type_file: str = key(
        "DeviceTypeFile",
        TEXT,
        "",
        "path",
        "File with device_type=TYPE; default: device_type in the data directory.",
        example="/etc/mender/device_type",
    )
    update_log_path: str = key(
        "UpdateLogPath",
        TEXT,
        "",
        "directory",
        "Directory of the deployment log; default: the data directory.",
        example="/data/log",
    )
    daemon_log_level: str = key(
        "DaemonLogLevel", one_of(*LOG_LEVELS), "info", "level", "Log level; --log-level takes precedence."
    )
    update_poll_seconds: int = key(
        "UpdatePollIntervalSeconds", SECONDS, 1800, "seconds", "Time between two update polls."
    )
    inventory_poll_seconds: int = key(
        "InventoryPollIntervalSeconds", SECONDS, 28800, "seconds", "Time between two inventory updates."
    )
    retry_poll_seconds: int = key(
        "RetryPollIntervalSeconds", SECONDS, 300, "seconds", "The longest wait after a failure."
    )
    retry_download_count: int = key(
        "RetryDownloadCount", whole(1, 1000000), 10, "attempts", "Attempts without a new byte before a download fails."
    )
    download_stall_seconds: int = key(
        "DownloadStallSeconds", SECONDS, 60, "seconds", "A download that receives nothing for this long is resumed."
    )
    download_minimum_rate: int = key(
        "DownloadMinimumRate",
        BYTES,
        0,
        "bytes per second",
        "A download slower than this is interrupted and resumed; 0 for no minimum.",
    )
    download_speed_limit: int = key(
        "DownloadSpeedLimit", BYTES, 0, "bytes per second", "Maximum rate of a download; 0 for no limit."
    )
    download_reserve_bytes: int = key(
        "DownloadReserveBytes",
        BYTES,
        16777216,
        "bytes",
        "Space that a download leaves free in the data directory.",
    )
    sub_updater_timeout_seconds: int = key(
        "SubUpdaterTimeoutSeconds",
        SECONDS_OR_NONE,
        0,
        "seconds",
        "How long to wait for a sub-updater before the deployment is reported as failed; 0 waits forever.",
    )
    rootfs_part_a: str = key(
        "RootfsPartA",
        TEXT,
        "",
        "device path",
        "One root file system partition; passed to the sub-updater.",
        example="/dev/mmcblk0p2",
    )
    rootfs_part_b: str = key(
        "RootfsPartB",
        TEXT,
        "",
        "device path",
        "The other root file system partition; passed to the sub-updater.",
        example="/dev/mmcblk0p3",
    )
    identity_format: str = key(
        "IdentityFormat",
        one_of("plain", "list"),
        "plain",
        "plain or list",
        "How a single identity value is sent; list keeps the identity that the archived Python client sent.",
    )

    @property
    def server_urls(self) -> tuple[str, ...]:
        """The servers, in the order in which they are tried."""
        return (self.server_url,) if self.server_url else self.servers

    @property
    def artifact_verify_keys(self) -> tuple[str, ...]:
        """The public keys of which one must have signed an Artifact; empty when signatures are not required."""
        return (self.single_verify_key,) if self.single_verify_key else self.verify_key_list

    @property
    def artifact_verify_setting(self) -> str:
        """The key that names ``artifact_verify_keys``, for messages."""
        return "ArtifactVerifyKey" if self.single_verify_key else "ArtifactVerifyKeys"


KEYS: tuple[Key, ...] = tuple(field.metadata["key"] for field in fields(Config))
"""Every key, in the order of the pages about them."""

_ATTRIBUTES = {field.metadata["key"].name: field.name for field in fields(Config)}


def build_config(values: Mapping[str, Any]) -> Config:
    """The settings for checked values by the names of ``KEYS``; a missing one has its default."""
    return Config(**{_ATTRIBUTES[name]: value for name, value in values.items()})
