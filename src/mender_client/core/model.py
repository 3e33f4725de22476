"""The values that the packages exchange: frozen, checked when made, and safe to print (secrets are left out)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from types import MappingProxyType
from urllib.parse import urlsplit

from mender_client import TYPE_CHECKING
from mender_client.dataclass import dataclass, field, replace
from mender_client.errors import ScriptError

from .keyvalue import KeyValues, group_by_key

if TYPE_CHECKING:
    from .artifact import Header

UNKNOWN_ARTIFACT_NAME = "unknown"
"""What a device without artifact_info calls its software; the server refuses an empty name."""

CONFIGURATION = "mender-configure"
"""The payload type of a configuration deployment. Its Artifact provides no artifact name: the device keeps its own."""


class Status(str, Enum):
    """The deployment statuses that this client sends."""

    DOWNLOADING = "downloading"
    INSTALLING = "installing"
    REBOOTING = "rebooting"
    PAUSE_BEFORE_INSTALLING = "pause_before_installing"
    PAUSE_BEFORE_REBOOTING = "pause_before_rebooting"
    PAUSE_BEFORE_COMMITTING = "pause_before_committing"
    SUCCESS = "success"
    FAILURE = "failure"

    @property
    def is_final(self) -> bool:
        """Whether nothing may be sent for the deployment after this status."""
        return self in (Status.SUCCESS, Status.FAILURE)


class IdentityFormat(str, Enum):
    """How a single identity value is written; the server takes the two forms for two devices.

    ``PLAIN`` is what the Go and C++ clients send, ``LIST`` what the archived Python client sends.
    """

    PLAIN = "plain"
    LIST = "list"


@dataclass(frozen=True)
class Identity:
    """What makes this device this device to the server, as the JSON object that is signed and sent."""

    id_data: str

    @classmethod
    def from_key_values(cls, parsed: KeyValues, *, form: IdentityFormat = IdentityFormat.PLAIN) -> Identity:
        """Build the identity from what the identity script printed.

        Args:
            parsed: the script's output.
            form: how a single value is written.

        Raises:
            ScriptError: there is no pair, or a line is malformed. The server would accept ``{}`` as an
                identity, so a client must never send it.
        """
        if parsed.malformed:
            raise ScriptError(
                "IDN01",
                f"cannot use the identity: line {parsed.malformed[0][:80]!r} is not key=value",
                remedy="correct the identity script",
            )
        if not parsed.pairs:
            raise ScriptError(
                "IDN02",
                "cannot use the identity: the identity script printed nothing",
                remedy="make it print at least one key=value line",
            )
        attributes: dict[str, str | list[str]] = {
            key: values[0] if len(values) == 1 and form is IdentityFormat.PLAIN else list(values)
            for key, values in group_by_key(parsed.pairs).items()
        }
        return cls.from_attributes(attributes)

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, str | list[str]]) -> Identity:
        """Write attributes down in the one form that makes equal identities equal."""
        return cls(json.dumps(attributes, sort_keys=True, separators=(",", ":")))


@dataclass(frozen=True)
class AcceptedIdentity:
    """What a device authenticates with, as far as it is remembered.

    Attributes:
        identity: SHA-256 of the identity as it is sent, in hexadecimal.
        key: the fingerprint of the public key.
        key_location: where the private key is, for people.
    """

    identity: str
    key: str
    key_location: str


@dataclass(frozen=True)
class NewKey:
    """A key that this client made after the server had accepted the device.

    Attributes:
        key: its fingerprint.
        is_forced: it was requested by ``--forcebootstrap``; otherwise there was no key.
    """

    key: str
    is_forced: bool


@dataclass(frozen=True)
class Token:
    """The JSON Web Token that authorises this device; opaque to the client and a secret.

    Attributes:
        value: the token as the server sent it.
        server_url: the server that gave it and takes it.
    """

    value: str = field(repr=False)
    server_url: str


@dataclass(frozen=True)
class Provides:
    """What the device says about its software when it asks for a deployment.

    Attributes:
        device_type: the content of the device_type file.
        artifact_name: the name of the installed Artifact.
        others: every further key of artifact_info (group, checksums, versions).
    """

    device_type: str
    artifact_name: str
    others: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Software:
    """What an Artifact has left on the device (protocol: Artifact format, provides).

    Attributes:
        artifact_name: the Artifact's name.
        provides: what it and the Artifacts before it provide.
        clears: which keys of artifact_info it has made invalid; ``*`` stands for any characters.
        seen_name: the name in artifact_info where that could not be changed to the Artifact's; empty where it could.
            While artifact_info has another name than this and the Artifact's, nothing of all this holds.
    """

    artifact_name: str
    provides: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    clears: tuple[str, ...] = ()
    seen_name: str = ""

    def followed_by(self, artifact_name: str, provides: Mapping[str, str], clears: Sequence[str]) -> Software:
        """The software after another Artifact was installed over this one."""
        kept = {key: value for key, value in self.provides.items() if not _is_cleared(key, clears)}
        return Software(artifact_name, MappingProxyType({**kept, **provides}), tuple(clears))

    def completing(self, seen: Provides) -> Provides:
        """What the device provides, if artifact_info says so much."""
        if seen.artifact_name not in (self.artifact_name, self.seen_name):
            return seen
        kept = {key: value for key, value in seen.others.items() if not _is_cleared(key, self.clears)}
        return replace(seen, artifact_name=self.artifact_name, others=MappingProxyType({**kept, **self.provides}))


INCONSISTENT = "_INCONSISTENT"
"""What is appended to the name of an Artifact that could be neither installed nor rolled back."""


def replaced(before: Provides, header: Header) -> Software:
    """What the device provides once an update module has installed an Artifact over what it provides now.

    An Artifact that says nothing of provides and clears leaves its name and group alone; one that only says what it
    provides clears everything else (installer contract, section 5). A configuration is no release: the name stays.

    Args:
        before: what the device provides now.
        header: the Artifact's header.
    """
    payload = header.payload
    clears = ("*",) if payload.clears is None else payload.clears
    kept = {key: value for key, value in before.others.items() if not _is_cleared(key, clears)}
    brought = {key: value for key, value in (payload.provides or {}).items() if key not in _NAME_AND_GROUP}
    group = {_GROUP: header.artifact_group} if header.artifact_group else {}
    name = before.artifact_name if payload.type == CONFIGURATION else header.artifact_name
    return Software(name, MappingProxyType({**kept, **brought, **group}), ("*",))


def inconsistent(before: Provides, software: Software) -> Software:
    """What the device provides when the software could be neither installed nor rolled back: nobody knows.

    Args:
        before: what the device provided.
        software: what was to be installed.
    """
    name = software.artifact_name
    name = name if name.endswith(INCONSISTENT) else name + INCONSISTENT
    group = {_GROUP: software.provides[_GROUP]} if _GROUP in software.provides else {}
    return Software(name, MappingProxyType({**before.others, **group}), ("*",), software.seen_name)


_GROUP = "artifact_group"
_NAME_AND_GROUP = ("artifact_name", _GROUP)


def _is_cleared(key: str, clears: Sequence[str]) -> bool:
    return any(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), key) for pattern in clears)


@dataclass(frozen=True)
class Link:
    """Where the Artifact can be fetched for a while, without the token. Its query is a secret.

    Attributes:
        uri: the pre-signed address.
        expire: when it stops working, as the server wrote it; empty when it did not say.
    """

    uri: str = field(repr=False)
    expire: str = ""


def parse_link(uri: str) -> str:
    """Check that a URL can be fetched from.

    Raises:
        ValueError: it is not an http or https URL with a host, or holds characters that no URL has.
    """
    if not re.fullmatch(r"[\x21-\x7e]{1,65536}", uri):
        raise ValueError("the link to the Artifact contains invalid characters")
    try:
        parts = urlsplit(uri)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
        _ = parts.port
    except ValueError:  # a malformed IPv6 host or port; the text of the error would repeat the link
        is_usable = False
    if not is_usable:
        raise ValueError("the link to the Artifact is not an http or https URL")
    return uri


class NextForm(Enum):
    """The three forms of an update poll, newest first; after a 404 or 405 the next one is tried."""

    V2_POST = "v2 POST"
    V1_POST = "v1 POST"
    V1_GET = "v1 GET"

    @property
    def fallback(self) -> NextForm | None:
        """The form to try on a server that does not support this one."""
        return {NextForm.V2_POST: NextForm.V1_POST, NextForm.V1_POST: NextForm.V1_GET}.get(self)


def is_deployment_id(text: str) -> bool:
    """Whether a text can be a deployment ID: safe as part of a path, of a URL and of a log line."""
    return re.fullmatch("[0-9A-Za-z_-]{1,128}", text) is not None


@dataclass(frozen=True)
class Deployment:
    """An update that the server wants on this device.

    Attributes:
        id: the deployment's id; safe as part of a path and of a log line.
        artifact_name: the name that the device has when it is done.
        device_types: the device types that the Artifact is for, as the server knows them.
        link: where the Artifact is.
        payload_type: the type of its payload, such as ``rootfs-image``; empty until it is downloaded.
    """

    id: str
    artifact_name: str
    device_types: tuple[str, ...]
    link: Link
    payload_type: str = ""

    @property
    def is_configuration(self) -> bool:
        """Whether the server brings the device's configuration: it names such a deployment by its id."""
        return self.artifact_name == f"configuration-{self.id}"


@dataclass(frozen=True)
class Attribute:
    """One inventory attribute; several values make a list."""

    name: str
    value: str | tuple[str, ...]


@dataclass(frozen=True)
class LogMessage:
    """One line of a deployment log; ``timestamp`` is aware."""

    timestamp: datetime
    level: str
    message: str
