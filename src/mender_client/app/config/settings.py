"""The settings: each key of ``mender.conf`` is declared once, as a field of ``Config``.

The parser, messages, ``config explain``, the JSON Schema and generated pages use these declarations.
"""

from __future__ import annotations

from collections.abc import Mapping

from mender_client import TYPE_CHECKING
from mender_client.dataclass import dataclass, fields

from .keys import Key, key
from .kinds import ADDRESS, BYTES, FLAG, PATHS, SECONDS, SECONDS_OR_NONE, SECRET, SERVERS, TEXT, TEXTS, one_of, whole
from .timed_kinds import GATE, SPEED

if TYPE_CHECKING:
    from typing import Any

LOG_LEVELS = ("trace", "debug", "info", "notice", "warning", "warn", "error", "fatal", "panic", "critical")


def _path(name: str, help: str, example: str, form: str = "path") -> Any:
    """Declare a key that holds a path."""
    return key(name, TEXT, help, form=form, example=example)


def _gate(point: str, before: str, example: list[str]) -> Any:
    """Declare the key of a gate."""
    help = (
        f"What an update waits for before {before}: windows, one of which must be open; ask: an operator's approval; "
        "when PATH: a program that exits with 0, or a file that contains a value; run PATH: a program that decides; "
        "after TIME go or fail: the deadline."
    )
    return key(f"UpdateGates.{point}", GATE, help, (), example=example)


@dataclass(frozen=True)
class Config:
    """The checked settings; paths are as written in the file, not yet placed below ``--root``."""

    server_url: str = key(
        "ServerURL", ADDRESS, "The server. Cannot be combined with Servers.", example="https://mender.example.com"
    )
    servers: tuple[str, ...] = key(
        "Servers",
        SERVERS,
        "Several servers, tried in this order.",
        (),
        example=[{"ServerURL": "https://one.example.com"}, {"ServerURL": "https://two.example.com"}],
    )
    tenant_token: str = key(
        "TenantToken", SECRET, "The organisation's token on a multi-tenant server.", example="eyJhbGciOi…"
    )
    server_certificate: str = _path(
        "ServerCertificate",
        "Certificates (PEM) trusted in addition to the system's: a file, or a directory of *.pem, *.crt and *.cer.",
        "/etc/mender/server.crt",
    )
    skip_verify: bool = key("SkipVerify", FLAG, "Trust every server. For a test bench only.", False)
    client_certificate: str = _path(
        "HttpsClient.Certificate", "Client certificate (PEM) for mutual TLS.", "/etc/mender/client.crt"
    )
    client_key: str = _path(
        "HttpsClient.Key", "The private key (PEM) of HttpsClient.Certificate.", "/etc/mender/client.key"
    )
    auth_private_key: str = _path(
        "Security.AuthPrivateKey",
        "Device key (PEM, or in a token) to use instead of a generated one.",
        "/var/lib/mender/device.pem",
        "path or pkcs11: URI",
    )
    ssl_engine: str = key(
        "Security.SSLEngine",
        TEXT,
        "OpenSSL engine for a pkcs11: key; default: the provider pkcs11 if it is installed, else the engine.",
        form="name",
        example="pkcs11",
    )
    single_verify_key: str = _path(
        "ArtifactVerifyKey",
        "Public key (PEM): only Artifacts signed with it are installed.",
        "/etc/mender/artifact-verify.pem",
    )
    verify_key_list: tuple[str, ...] = key(
        "ArtifactVerifyKeys",
        PATHS,
        "Several such keys. Cannot be combined with ArtifactVerifyKey.",
        (),
        example=["/etc/mender/old.pem", "/etc/mender/new.pem"],
    )
    device_type_file: str = _path(
        "DeviceTypeFile",
        "File with device_type=TYPE; default: device_type in the data directory.",
        "/etc/mender/device_type",
    )
    update_log_path: str = _path(
        "UpdateLogPath", "Directory of the deployment log; default: the data directory.", "/data/log", "directory"
    )
    daemon_log_level: str = key(
        "DaemonLogLevel", one_of(*LOG_LEVELS), "Log level; --log-level takes precedence.", "info", "level"
    )
    update_poll_seconds: int = key(
        "UpdatePollIntervalSeconds", SECONDS, "Time between two update polls.", 1800, "seconds"
    )
    inventory_poll_seconds: int = key(
        "InventoryPollIntervalSeconds", SECONDS, "Time between two inventory updates.", 28800, "seconds"
    )
    retry_poll_seconds: int = key(
        "RetryPollIntervalSeconds", SECONDS, "The longest wait after a failure.", 300, "seconds"
    )
    retry_poll_count: int = key(
        "RetryPollCount",
        whole(0, 1000000),
        "How many times a device that has started with new software tries to report it before it rolls back; 0 tries "
        "until the longest wait has passed three times.",
        0,
        "attempts",
    )
    retry_download_count: int = key(
        "RetryDownloadCount", whole(1, 1000000), "Attempts without a new byte before a download fails.", 10, "attempts"
    )
    retry_download_seconds: int = key(
        "RetryDownloadSeconds",
        SECONDS_OR_NONE,
        "Minimum time for which an unreachable or failing storage is retried before a download fails.",
        3600,
        "seconds",
    )
    download_stall_seconds: int = key(
        "DownloadStallSeconds", SECONDS, "A download that receives nothing for this long is resumed.", 60, "seconds"
    )
    download_minimum_rate: int = key(
        "DownloadMinimumRate",
        BYTES,
        "A download slower than this and than half of DownloadSpeedLimit is interrupted and resumed; 0: no minimum.",
        0,
        "bytes per second",
    )
    download_speed_limit: int | tuple[str, ...] = key(
        "DownloadSpeedLimit",
        SPEED,
        "Maximum rate of a download; 0 for no limit. As a list, windows, each with its rate: bytes per second, "
        "unlimited or stop. The first open window applies; outside all of them, nothing is downloaded.",
        0,
        "bytes per second",
        example=["Mon-Fri 08:00-18:00 65536", "Sat stop", "unlimited"],
    )
    download_reserve_bytes: int = key(
        "DownloadReserveBytes", BYTES, "Space that a download leaves free in the data directory.", 16777216, "bytes"
    )
    gate_download: tuple[str, ...] = _gate(
        "Download", "the download", ["22:00-06:00", "when /usr/lib/mender/unmetered"]
    )
    gate_install: tuple[str, ...] = _gate(
        "Install", "the installation", ["Mon-Fri 22:00-05:00 Europe/Berlin", "Sat-Sun", "after 14d go"]
    )
    gate_reboot: tuple[str, ...] = _gate("Reboot", "the reboot", ["run /usr/lib/mender/may-reboot"])
    gate_commit: tuple[str, ...] = _gate("Commit", "the commit", ["ask", "after 12h fail"])
    installer: str = key(
        "Installer",
        one_of("auto", "sub-updater", "modules"),
        "What installs updates: the sub-updater, or update modules; auto: the sub-updater if there is one.",
        "auto",
        "auto, sub-updater or modules",
    )
    spool_artifact: str = key(
        "SpoolArtifact",
        one_of("auto", "always", "never"),
        "Whether an Artifact is stored before an update module installs it; auto: if there is space for it.",
        "auto",
        "auto, always or never",
    )
    adaptive_download: str = key(
        "AdaptiveDownload",
        one_of("auto", "off"),
        "Whether the device downloads only the parts of an image that it doesn't have; auto: if the Artifact has an "
        "index, and RootfsPartA, RootfsPartB or AdaptiveSeeds can be read.",
        "auto",
        "auto or off",
    )
    adaptive_seeds: tuple[str, ...] = key(
        "AdaptiveSeeds",
        PATHS,
        "Files and partitions that hold parts of new images, in addition to RootfsPartA and RootfsPartB.",
        (),
        example=["/data/golden.img"],
    )
    module_timeout_seconds: int = key(
        "ModuleTimeoutSeconds", SECONDS, "How long each call of an update module may take.", 14400, "seconds"
    )
    state_script_timeout_seconds: int = key(
        "StateScriptTimeoutSeconds", SECONDS, "How long a state script may take.", 3600, "seconds"
    )
    state_script_retry_seconds: int = key(
        "StateScriptRetryIntervalSeconds", SECONDS, "The wait before a state script that asks for a retry is run.", 60,
        "seconds",
    )  # fmt: skip
    state_script_patience_seconds: int = key(
        "StateScriptRetryTimeoutSeconds",
        SECONDS,
        "How long a state script may keep asking for a retry before it counts as failed.",
        1800,
        "seconds",
    )
    sub_updater_timeout_seconds: int = key(
        "SubUpdaterTimeoutSeconds",
        SECONDS_OR_NONE,
        "How long a sub-updater may take before it is stopped and the deployment is reported as failed; 0 waits "
        "forever.",
        86400,
        "seconds",
    )
    payload_types: tuple[str, ...] = key(
        "PayloadTypes",
        TEXTS,
        "The types of payloads that the sub-updater installs, such as rootfs-image; all others are refused before the "
        "download. Empty: all types but mender-configure.",
        (),
        example=["rootfs-image"],
    )
    rootfs_part_a: str = _path(
        "RootfsPartA",
        "One root file system partition; passed to the sub-updater. An image larger than both partitions is refused.",
        "/dev/mmcblk0p2",
        "device path",
    )
    rootfs_part_b: str = _path(
        "RootfsPartB",
        "The other root file system partition; passed to the sub-updater.",
        "/dev/mmcblk0p3",
        "device path",
    )
    remote_terminal: bool = key(
        "RemoteTerminal", FLAG, "False: connect offers no terminals, as in the archived Python client.", True
    )
    identity_format: str = key(
        "IdentityFormat",
        one_of("plain", "list"),
        "How a single identity value is sent; list keeps the identity that the archived Python client sent.",
        "plain",
        "plain or list",
    )

    @property
    def server_urls(self) -> tuple[str, ...]:
        """The servers, in the order in which they are tried."""
        return (self.server_url,) if self.server_url else self.servers

    @property
    def has_gates(self) -> bool:
        """Whether anything can hold an update: the conditions of a gate, or a time-dependent speed limit."""
        has_conditions = self.gate_download or self.gate_install or self.gate_reboot or self.gate_commit
        return bool(has_conditions) or isinstance(self.download_speed_limit, tuple)

    @property
    def artifact_verify_keys(self) -> tuple[str, ...]:
        """The public keys, one of which must verify the signature of an Artifact; empty if none is required."""
        return (self.single_verify_key,) if self.single_verify_key else self.verify_key_list

    @property
    def artifact_verify_setting(self) -> str:
        """The name of the key that sets ``artifact_verify_keys``, for messages."""
        return "ArtifactVerifyKey" if self.single_verify_key else "ArtifactVerifyKeys"


KEYS: tuple[Key, ...] = tuple(field.metadata["key"] for field in fields(Config))
"""Every key, in the order of the reference pages."""

_ATTRIBUTES = {field.metadata["key"].name: field.name for field in fields(Config)}


def build_config(values: Mapping[str, Any]) -> Config:
    """Build the settings from checked values, by the names of ``KEYS``; a missing one has its default."""
    return Config(**{_ATTRIBUTES[name]: value for name, value in values.items()})
