"""The keys of ``mender.conf``: a table, so that parser, messages, ``config explain``, schema and pages can't differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .kinds import ADDRESS, BYTES, FLAG, PATHS, SECONDS, SECONDS_OR_NONE, SECRET, SERVERS, TEXT, Kind, one_of, whole


@dataclass(frozen=True, slots=True)
class Key:
    """One key of ``mender.conf``.

    Attributes:
        name: as it is written, with dots for keys inside an object.
        kind: tests and converts a value.
        default: what holds when it is not given.
        form: type and unit, for people.
        help: what it does.
    """

    name: str
    kind: Kind
    default: Any
    form: str
    help: str

    @property
    def is_secret(self) -> bool:
        """Whether the value is never shown."""
        return self.kind is SECRET


LOG_LEVELS = ("trace", "debug", "info", "notice", "warning", "warn", "error", "fatal", "panic", "critical")

KEYS: tuple[Key, ...] = (
    Key("ServerURL", ADDRESS, "", "address", "The server. Excludes Servers."),
    Key("Servers", SERVERS, (), 'list of {"ServerURL": address}', "Several servers, tried in this order."),
    Key("TenantToken", SECRET, "", "text, secret", "The organisation's token on a multi-tenant server."),
    Key(
        "ServerCertificate",
        TEXT,
        "",
        "path",
        "Certificates (PEM) trusted in addition to the system's: a file, or a directory of *.pem, *.crt and *.cer.",
    ),
    Key("SkipVerify", FLAG, False, "true or false", "Trust every server. For a test bench only."),
    Key("HttpsClient.Certificate", TEXT, "", "path", "Client certificate (PEM) for mutual TLS."),
    Key("HttpsClient.Key", TEXT, "", "path", "The private key (PEM) of HttpsClient.Certificate."),
    Key(
        "Security.AuthPrivateKey",
        TEXT,
        "",
        "path or pkcs11: address",
        "Device key (PEM, or in a token) that is used instead of a generated one.",
    ),
    Key(
        "Security.SSLEngine",
        TEXT,
        "",
        "name",
        "The openssl engine that reaches a pkcs11: key; default: the provider pkcs11 if it is there, else the engine.",
    ),
    Key("ArtifactVerifyKey", TEXT, "", "path", "Public key (PEM): only Artifacts signed with it are installed."),
    Key("ArtifactVerifyKeys", PATHS, (), "list of paths", "Several such keys. Excludes ArtifactVerifyKey."),
    Key("DeviceTypeFile", TEXT, "", "path", "Holds device_type=TYPE; default: device_type in the data directory."),
    Key("UpdateLogPath", TEXT, "", "directory", "Where the deployment log is written; default: the data directory."),
    Key("DaemonLogLevel", one_of(*LOG_LEVELS), "info", "level", "How much the client logs; --log-level wins."),
    Key("UpdatePollIntervalSeconds", SECONDS, 1800, "seconds", "Time between two questions for a deployment."),
    Key("InventoryPollIntervalSeconds", SECONDS, 28800, "seconds", "Time between two inventories."),
    Key("RetryPollIntervalSeconds", SECONDS, 300, "seconds", "The longest wait after a failure."),
    Key("RetryDownloadCount", whole(1, 1000000), 10, "tries", "Failures without a new byte that end a download."),
    Key("DownloadStallSeconds", SECONDS, 60, "seconds", "A download without a byte for so long is broken off."),
    Key("DownloadMinimumRate", BYTES, 0, "bytes per second", "A slower download is broken off and resumed; 0: any."),
    Key("DownloadSpeedLimit", BYTES, 0, "bytes per second", "The most that a download takes; 0 for no limit."),
    Key("DownloadReserveBytes", BYTES, 16777216, "bytes", "Free space that a download leaves in the data directory."),
    Key(
        "SubUpdaterTimeoutSeconds",
        SECONDS_OR_NONE,
        0,
        "seconds",
        "How long to wait for a sub-updater before the deployment is reported as failed; 0 waits for ever.",
    ),
    Key("RootfsPartA", TEXT, "", "device path", "One root file system partition; told to the sub-updater."),
    Key("RootfsPartB", TEXT, "", "device path", "The other root file system partition; told to the sub-updater."),
    Key(
        "IdentityFormat",
        one_of("plain", "list"),
        "plain",
        "plain or list",
        "How a single identity value is sent; list keeps the identity that the archived Python client sent.",
    ),
)

EXAMPLES: dict[str, Any] = {
    "ServerURL": "https://mender.example.com",
    "Servers": [{"ServerURL": "https://one.example.com"}, {"ServerURL": "https://two.example.com"}],
    "TenantToken": "eyJhbGciOi…",
    "ServerCertificate": "/etc/mender/server.crt",
    "HttpsClient.Certificate": "/etc/mender/client.crt",
    "HttpsClient.Key": "/etc/mender/client.key",
    "Security.AuthPrivateKey": "/var/lib/mender/device.pem",
    "Security.SSLEngine": "pkcs11",
    "ArtifactVerifyKey": "/etc/mender/artifact-verify.pem",
    "ArtifactVerifyKeys": ["/etc/mender/old.pem", "/etc/mender/new.pem"],
    "DeviceTypeFile": "/etc/mender/device_type",
    "UpdateLogPath": "/data/log",
    "RootfsPartA": "/dev/mmcblk0p2",
    "RootfsPartB": "/dev/mmcblk0p3",
}
"""Values as they may be written, for the keys whose default says nothing."""


ACCEPTED_KEYS: tuple[str, ...] = (
    "RetryPollCount",
    "StateScriptTimeoutSeconds",
    "StateScriptRetryTimeoutSeconds",
    "StateScriptRetryIntervalSeconds",
    "ModuleTimeoutSeconds",
    "HttpsClient.SSLEngine",
)
"""Keys of the field that are known and have no effect here."""

RETIRED_KEYS: tuple[str, ...] = (
    "Connectivity",
    "DBus",
    "UpdateControlMapBootExpirationTimeSeconds",
    "UpdateControlMapExpirationTimeSeconds",
    "BootUtilitiesGetNextActivePart",
    "BootUtilitiesSetActivePart",
    "ClientProtocol",
)
"""Keys that the field has given up; files that still hold them are fine."""
