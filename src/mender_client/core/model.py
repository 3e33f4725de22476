"""The values that the packages exchange: frozen, validated on creation, and safe to print (secrets are left out)."""

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
"""The artifact name that a device without artifact_info sends; the server refuses an empty name."""

CONFIGURATION = "mender-configure"
"""The payload type of a configuration deployment. Its Artifact provides no artifact name; the device keeps its own."""


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
        """Whether no further status may be sent for the deployment."""
        return self in (Status.SUCCESS, Status.FAILURE)


class IdentityFormat(str, Enum):
    """How a single identity value is written; to the server, the two forms are two different devices.

    ``PLAIN`` is what the Go and C++ clients send, ``LIST`` what the archived Python client sends.
    """

    PLAIN = "plain"
    LIST = "list"


@dataclass(frozen=True)
class Identity:
    """The attributes by which the server recognises this device, as the JSON object that is signed and sent."""

    id_data: str

    @classmethod
    def from_key_values(cls, parsed: KeyValues, *, form: IdentityFormat = IdentityFormat.PLAIN) -> Identity:
        """Build the identity from the output of the identity script.

        Args:
            parsed: the script's output.
            form: how a single value is written.

        Raises:
            ScriptError: the output contains no pair, or a malformed line. The server would accept ``{}`` as an
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
        """Serialise attributes in a canonical form, so that equal identities compare equal."""
        return cls(json.dumps(attributes, sort_keys=True, separators=(",", ":")))


@dataclass(frozen=True)
class AcceptedIdentity:
    """The identity and the key with which a device authenticates, as they are stored.

    Attributes:
        identity: SHA-256 of the identity as it is sent, in hexadecimal.
        key: the fingerprint of the public key.
        key_location: the location of the private key, for messages.
    """

    identity: str
    key: str
    key_location: str


@dataclass(frozen=True)
class NewKey:
    """A key that this client generated after the server had accepted the device.

    Attributes:
        key: its fingerprint.
        is_forced: whether it was requested with ``--forcebootstrap``; otherwise there was no key before.
    """

    key: str
    is_forced: bool


@dataclass(frozen=True)
class Token:
    """The JSON Web Token that authorises this device; opaque to the client and a secret.

    Attributes:
        value: the token as the server sent it.
        server_url: the server that issued it and accepts it.
    """

    value: str = field(repr=False)
    server_url: str


@dataclass(frozen=True)
class Provides:
    """What the device reports about its software in an update poll.

    Attributes:
        device_type: the content of the device_type file.
        artifact_name: the name of the installed Artifact.
        others: all other keys of artifact_info (group, checksums, versions).
    """

    device_type: str
    artifact_name: str
    others: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Software:
    """The software that an Artifact has installed on the device (protocol: Artifact format, provides).

    Attributes:
        artifact_name: the Artifact's name.
        provides: what this Artifact and the ones before it provide.
        clears: the keys of artifact_info that it has invalidated; ``*`` matches any characters.
        seen_name: the name in artifact_info if that could not be changed to the Artifact's; empty if it could.
            If artifact_info contains any other name, none of these values apply.
    """

    artifact_name: str
    provides: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    clears: tuple[str, ...] = ()
    seen_name: str = ""

    def followed_by(self, artifact_name: str, provides: Mapping[str, str], clears: Sequence[str]) -> Software:
        """The software after another Artifact has been installed over this one."""
        kept = {key: value for key, value in self.provides.items() if not _is_cleared(key, clears)}
        return Software(artifact_name, MappingProxyType({**kept, **provides}), tuple(clears))

    def completing(self, seen: Provides) -> Provides:
        """What the device provides, given the content of its files."""
        if seen.artifact_name not in (self.artifact_name, self.seen_name):
            return seen
        kept = {key: value for key, value in seen.others.items() if not _is_cleared(key, self.clears)}
        return replace(seen, artifact_name=self.artifact_name, others=MappingProxyType({**kept, **self.provides}))


INCONSISTENT = "_INCONSISTENT"
"""The suffix for the name of an Artifact that could be neither installed nor rolled back."""


def replaced(before: Provides, header: Header) -> Software:
    """What the device provides once an update module has installed an Artifact.

    An Artifact that specifies neither provides nor clears leaves only its name and group; one that specifies only
    provides clears everything else (installer contract, section 5). A configuration isn't a release: the device keeps
    its artifact name.

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
    """What the device provides if the software could be neither installed nor rolled back: its state is unknown.

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
    """A temporary address from which the Artifact can be downloaded without the token. Its query is a secret.

    Attributes:
        uri: the pre-signed address.
        expire: when it expires, as the server wrote it; empty if the server did not say.
    """

    uri: str = field(repr=False)
    expire: str = ""


def parse_link(uri: str) -> str:
    """Check that an Artifact can be downloaded from a URL, and return the URL.

    Raises:
        ValueError: it is not an http or https URL with a host and without a user name, or it contains characters that
            are invalid in a URL.
    """
    if not re.fullmatch(r"[\x21-\x7e]{1,65536}", uri):
        raise ValueError("the link to the Artifact contains invalid characters")
    try:
        parts = urlsplit(uri)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
        _ = parts.port
    except ValueError:  # a malformed IPv6 host or port; the error text would repeat the link
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
    """An update that the server has assigned to this device.

    Attributes:
        id: the deployment's id; safe as part of a path and of a log line.
        artifact_name: the artifact name of the device after the update.
        device_types: the device types that the Artifact is compatible with, according to the server.
        link: the download address of the Artifact.
        payload_type: the type of its payload, such as ``rootfs-image``; empty until the Artifact is downloaded.
    """

    id: str
    artifact_name: str
    device_types: tuple[str, ...]
    link: Link
    payload_type: str = ""

    @property
    def is_configuration(self) -> bool:
        """Whether it deploys the device's configuration: the server then derives the artifact name from the id."""
        return self.artifact_name == f"configuration-{self.id}"


@dataclass(frozen=True)
class Attribute:
    """One inventory attribute; several values are a tuple."""

    name: str
    value: str | tuple[str, ...]


@dataclass(frozen=True)
class LogMessage:
    """One line of a deployment log; ``timestamp`` is aware."""

    timestamp: datetime
    level: str
    message: str
