"""``mender.conf``: two files merged into one checked configuration, every fault found at once.

The keys are a table, so that the parser, its messages and the reference page can't differ.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mender_client.core.model import IdentityFormat
from mender_client.core.wire import printable
from mender_client.errors import ConfigError

_MAXIMUM_FILE_BYTES = 1024 * 1024
_MAXIMUM_SECONDS = 10 * 365 * 86400


@dataclass(frozen=True, slots=True)
class Config:
    """The settings, checked. See ``KEYS`` for what each means; paths are as written, not below ``--root`` yet.

    ``artifact_verify_setting`` is the key that named ``artifact_verify_keys``, for messages.
    """

    server_urls: tuple[str, ...]
    tenant_token: str
    server_certificate: str
    skip_verify: bool
    client_certificate: str
    client_key: str
    auth_private_key: str
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


Check = Callable[[Any], Any]
"""Returns the value to use, or raises ValueError that says what the value must be."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of ``mender.conf``.

    Attributes:
        name: as it is written, with dots for keys inside an object.
        check: tests and converts a value.
        default: what holds when it is not given.
        form: type and unit, for people.
        help: what it does.
    """

    name: str
    check: Check
    default: Any
    form: str
    help: str


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a text")
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise ValueError("must not hold control characters")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _whole(smallest: int, largest: int) -> Check:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError("must be a whole number")
        if not smallest <= value <= largest:
            raise ValueError(f"must be at least {smallest}" if value < smallest else f"must be at most {largest}")
        return value

    return check


def _url(value: Any) -> str:
    text = _text(value)
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        is_right = False
    if not is_right or not text.isascii() or " " in text:
        raise ValueError("must be an address such as https://mender.example.com")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("must hold neither user, query nor fragment")
    return text.rstrip("/")


def _servers(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError('must be a list of objects such as {"ServerURL": "https://mender.example.com"}')
    urls = []
    for item in value:
        given = [inner for name, inner in item.items() if name.lower() == "serverurl"]
        if len(given) != 1 or not (url := _url(given[0])):
            raise ValueError('must hold a "ServerURL" in each object')
        urls.append(url)
    return tuple(urls)


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError("must be a list of texts")
    return tuple(_text(item) for item in value)


def _paths(value: Any) -> tuple[str, ...]:
    paths = _texts(value)
    if not all(paths):
        raise ValueError("must not hold an empty path")
    return paths


def _anything(value: Any) -> Any:
    return value


def _one_of(*choices: str) -> Check:
    def check(value: Any) -> str:
        text = _text(value).lower()
        if text not in choices:
            raise ValueError("must be one of " + ", ".join(choices))
        return text

    return check


_seconds = _whole(1, _MAXIMUM_SECONDS)
_bytes = _whole(0, 1 << 50)
LOG_LEVELS = ("trace", "debug", "info", "notice", "warning", "warn", "error", "fatal", "panic", "critical")

KEYS: tuple[Key, ...] = (
    Key("ServerURL", _url, "", "address", "The server. Excludes Servers."),
    Key("Servers", _servers, (), 'list of {"ServerURL": address}', "Several servers, tried in this order."),
    Key("TenantToken", _text, "", "text, secret", "The organisation's token on a multi-tenant server."),
    Key("ServerCertificate", _text, "", "path", "Certificates (PEM) trusted in addition to the system's."),
    Key("SkipVerify", _flag, False, "true or false", "Trust every server. For a test bench only."),
    Key("HttpsClient.Certificate", _text, "", "path", "Client certificate (PEM) for mutual TLS."),
    Key("HttpsClient.Key", _text, "", "path", "The private key (PEM) of HttpsClient.Certificate."),
    Key("Security.AuthPrivateKey", _text, "", "path", "Device key (PEM) that is used instead of a generated one."),
    Key("ArtifactVerifyKey", _text, "", "path", "Public key (PEM): only Artifacts signed with it are installed."),
    Key("ArtifactVerifyKeys", _paths, (), "list of paths", "Several such keys. Excludes ArtifactVerifyKey."),
    Key("DeviceTypeFile", _text, "", "path", "Holds device_type=TYPE; default: device_type in the data folder."),
    Key("UpdateLogPath", _text, "", "folder", "Where the deployment log is written; default: the data folder."),
    Key("DaemonLogLevel", _one_of(*LOG_LEVELS), "info", "level", "How much the client logs; --log-level wins."),
    Key("UpdatePollIntervalSeconds", _seconds, 1800, "seconds", "Time between two questions for a deployment."),
    Key("InventoryPollIntervalSeconds", _seconds, 28800, "seconds", "Time between two inventories."),
    Key("RetryPollIntervalSeconds", _seconds, 300, "seconds", "The longest wait after a failure."),
    Key("RetryDownloadCount", _whole(1, 1000000), 10, "tries", "Failures without a new byte that end a download."),
    Key("DownloadStallSeconds", _seconds, 60, "seconds", "A download without a byte for so long is broken off."),
    Key("DownloadMinimumRate", _bytes, 0, "bytes per second", "A slower download is broken off and resumed; 0: any."),
    Key("DownloadSpeedLimit", _bytes, 0, "bytes per second", "The most that a download takes; 0 for no limit."),
    Key("DownloadReserveBytes", _bytes, 16777216, "bytes", "Free space that a download leaves in the data folder."),
    Key(
        "SubUpdaterTimeoutSeconds",
        _whole(0, _MAXIMUM_SECONDS),
        0,
        "seconds",
        "How long to wait for a sub-updater before the deployment is reported as failed; 0 waits for ever.",
    ),
    Key("RootfsPartA", _text, "", "device path", "One root file system partition; told to the sub-updater."),
    Key("RootfsPartB", _text, "", "device path", "The other root file system partition; told to the sub-updater."),
    Key(
        "IdentityFormat",
        _one_of("plain", "list"),
        "plain",
        "plain or list",
        "How a single identity value is sent; list keeps the identity that the archived Python client sent.",
    ),
)

ACCEPTED_KEYS: tuple[str, ...] = (
    "RetryPollCount",
    "StateScriptTimeoutSeconds",
    "StateScriptRetryTimeoutSeconds",
    "StateScriptRetryIntervalSeconds",
    "ModuleTimeoutSeconds",
    "HttpsClient.SSLEngine",
    "Security.SSLEngine",
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

_GROUPS = frozenset(key.name.partition(".")[0].lower() for key in KEYS if "." in key.name)


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A configuration and what should be said about it."""

    config: Config
    warnings: tuple[str, ...]


class _Reader:
    """Collects values, problems and warnings from one file after the other."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.origins: dict[str, Path] = {}
        self.problems: list[str] = []
        self.warnings: list[str] = []
        self._keys = {key.name.lower(): key for key in KEYS}
        self._silent = {name.lower() for name in (*ACCEPTED_KEYS, *RETIRED_KEYS)}

    def read(self, path: Path) -> bool:
        """Take the values of a file that no earlier file gave; False when there is no such file."""
        try:
            with path.open("rb") as file:
                data = file.read(_MAXIMUM_FILE_BYTES + 1)
        except FileNotFoundError:
            return False
        except OSError as error:
            self.problems.append(f"{path}: cannot be read: {error.strerror}; check its owner and mode")
            return True
        document = self._parse(path, data)
        if document is not None:
            self._take(path, "", document, given=set())
        return True

    def _parse(self, path: Path, data: bytes) -> _Pairs | None:
        if len(data) > _MAXIMUM_FILE_BYTES:
            self.problems.append(f"{path}: is larger than {_MAXIMUM_FILE_BYTES} bytes; it can't be the right file")
            return None
        try:
            document = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_Pairs)
        except UnicodeDecodeError:
            self.problems.append(f"{path}: is not UTF-8 text")
        except json.JSONDecodeError as error:
            self.problems.append(
                f"{path}: is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg.lower()}"
            )
        except (RecursionError, ValueError):
            self.problems.append(f"{path}: is nested too deeply or holds a number that is too large")
        else:
            if isinstance(document, _Pairs):
                return document
            self.problems.append(f"{path}: must hold a JSON object")
        return None

    def _take(self, path: Path, prefix: str, pairs: _Pairs, *, given: set[str]) -> None:
        for name, value in pairs.items:
            full = prefix + name
            lower = full.lower()
            if lower in given:
                self.problems.append(
                    f"{path}: {printable(full)}: is given twice; keys are the same in upper and lower case"
                )
            given.add(lower)
            if not prefix and lower in _GROUPS:
                if isinstance(value, _Pairs):
                    self._take(path, f"{name}.", value, given=given)
                else:
                    self.problems.append(f"{path}: {full}: must be an object")
            elif lower in self._keys:
                self._check(path, self._keys[lower], value)
            elif lower not in self._silent:
                self.warnings.append(f"{path}: unknown key {full!r:.80} is ignored" + self._suggest(full))

    def _check(self, path: Path, key: Key, value: Any) -> None:
        try:
            checked = key.check(_plain(value))
        except ValueError as error:
            self.problems.append(f"{path}: {key.name}: {error}")
            return
        if key.name not in self.values:
            self.values[key.name] = checked
            self.origins[key.name] = path

    def _suggest(self, name: str) -> str:
        from difflib import get_close_matches

        known = {key.name.lower(): key.name for key in KEYS}
        close = get_close_matches(name.lower(), known, n=1, cutoff=0.6)
        return f"; did you mean {known[close[0]]!r}?" if close else ""


class _Pairs:
    """A JSON object as it was written, with repeated keys."""

    def __init__(self, items: list[tuple[str, Any]]) -> None:
        self.items = items


def _plain(value: Any) -> Any:
    if isinstance(value, _Pairs):
        return {name: _plain(inner) for name, inner in value.items}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value


def load_config(main: Path, fallback: Path, *, is_server_needed: bool = True) -> LoadedConfig:
    """Read, merge and check the two configuration files.

    Args:
        main: a key here wins.
        fallback: gives the keys that the main file lacks.
        is_server_needed: whether it is a fault that no server is configured.

    Raises:
        ConfigError: every problem of both files at once, each with file and key.
    """
    reader = _Reader()
    found = [path for path in (main, fallback) if reader.read(path)]
    _check_together(reader, main, fallback, found, is_server_needed=is_server_needed)
    if reader.problems:
        raise ConfigError(reader.problems)
    return LoadedConfig(
        _build({key.name: reader.values.get(key.name, key.default) for key in KEYS}), tuple(reader.warnings)
    )


def _check_together(
    reader: _Reader, main: Path, fallback: Path, found: Sequence[Path], *, is_server_needed: bool
) -> None:
    values, origins = reader.values, reader.origins
    for one, other in (("ServerURL", "Servers"), ("ArtifactVerifyKey", "ArtifactVerifyKeys")):
        if values.get(one) and values.get(other):
            reader.problems.append(f"{origins[other]}: {other}: can't be used together with {one} ({origins[one]})")
    for one, other in (
        ("HttpsClient.Certificate", "HttpsClient.Key"),
        ("HttpsClient.Key", "HttpsClient.Certificate"),
    ):
        if values.get(one) and not values.get(other):
            reader.problems.append(f"{origins[one]}: {one}: needs {other} too")
    is_server_wrong = any("ServerURL:" in problem or "Servers:" in problem for problem in reader.problems)
    if is_server_needed and not values.get("ServerURL") and not values.get("Servers") and not is_server_wrong:
        where = "no such file" if not found else "no key ServerURL"
        reader.problems.append(f"{main}: ServerURL: is missing ({where}, nor in {fallback}); set the server's address")


def _build(values: Mapping[str, Any]) -> Config:
    verify_key = values["ArtifactVerifyKey"]
    return Config(
        server_urls=(values["ServerURL"],) if values["ServerURL"] else values["Servers"],
        tenant_token=values["TenantToken"],
        server_certificate=values["ServerCertificate"],
        skip_verify=values["SkipVerify"],
        client_certificate=values["HttpsClient.Certificate"],
        client_key=values["HttpsClient.Key"],
        auth_private_key=values["Security.AuthPrivateKey"],
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
