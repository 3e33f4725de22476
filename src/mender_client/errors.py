"""The hierarchy of errors; each class tells who is at fault and whether retrying can help.

A message has three parts: a code, which is stable and unique, a text, and a remedy. The text is lower-case and names
the file, URL or key; the remedy says what to do next. ``docs/guide/troubleshooting.md`` is generated from the calls
that create messages, so the code is always a literal there. No part ever contains a token, a key or the query of a URL:
the code that raises an error ensures this, because any handler may log the message.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from mender_client.dataclass import dataclass


class ErrorKind(str, Enum):
    """The kinds of failures, for programs: ``status --json``, metrics and ``NetworkError.kind`` use these words."""

    # the connection to the server
    DNS = "dns"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    RESET = "reset"
    TIMEOUT = "timeout"
    PROXY = "proxy"
    # the server's certificate
    CERTIFICATE_UNKNOWN = "certificate-unknown"
    CERTIFICATE_SELF_SIGNED = "certificate-self-signed"
    CERTIFICATE_HOST = "certificate-host"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_EARLY = "certificate-early"
    CERTIFICATE = "certificate"
    CLOCK = "clock"
    """The certificate seems out of date because this device's clock is evidently wrong."""
    # the handshake
    CLIENT_CERTIFICATE = "client-certificate"
    TLS_VERSION = "tls-version"
    NO_TLS = "no-tls"
    TLS = "tls"
    # the answer
    PROTOCOL = "protocol"
    BROKEN_OFF = "broken-off"
    TOO_LARGE = "too-large"
    REDIRECT = "redirect"
    NOT_ACCEPTED = "not-accepted"
    UNAUTHORISED = "unauthorised"
    SERVER_4XX = "server-4xx"
    SERVER_5XX = "server-5xx"
    SERVER = "server"
    # this device
    CONFIGURATION = "configuration"
    KEY = "key"
    SCRIPT = "script"
    STORAGE = "storage"
    BUSY = "busy"
    # the update
    ARTIFACT = "artifact"
    DOWNLOAD = "download"
    INSTALL = "install"
    ABORTED = "aborted"
    OTHER = "other"


@dataclass(frozen=True)
class Diagnostic:
    """A message for the operator.

    Attributes:
        code: three letters for the subject and two digits, for instance ``STO01``.
        text: what happened, to what, and why.
        remedy: what to do; empty if there is nothing to do or the text already says it.
    """

    code: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        said = f"{self.text}; {self.remedy}" if self.remedy else self.text
        return f"{said} [{self.code}]" if self.code else said


class Interrupted(Exception):
    """A long operation ended early because the client was asked to stop."""


class MenderError(Exception):
    """Base class of all errors that this package raises deliberately.

    Args:
        code: the code of the message.
        text: what could not be done, to what, and why.
        remedy: what to do next.
    """

    kind = ErrorKind.OTHER

    def __init__(self, code: str, text: str = "", *, remedy: str = "") -> None:
        # a single argument is a text without a code: an answer of the dev server is not a message of the client
        self.diagnostic = Diagnostic(code, text, remedy) if text else Diagnostic("", code, remedy)
        super().__init__(str(self.diagnostic))

    @property
    def text(self) -> str:
        return self.diagnostic.text

    @property
    def remedy(self) -> str:
        return self.diagnostic.remedy


class ConfigError(MenderError):
    """The operator's settings are wrong; trying again does not help until they change.

    Args:
        problems: one message for each fault that was found.
    """

    kind = ErrorKind.CONFIGURATION

    def __init__(self, problems: Sequence[Diagnostic | str]) -> None:
        # a plain text comes from the command line of the dev server
        self.problems = tuple(one if isinstance(one, Diagnostic) else Diagnostic("", one) for one in problems)
        first = self.problems[0]
        super().__init__(first.code, first.text, remedy=first.remedy)
        self.args = ("\n".join(map(str, self.problems)),)


class UsageError(MenderError, ValueError):
    """A program called a method out of order, or a method of a closed client: a bug in that program."""


class DeviceError(MenderError):
    """Something on this device is missing, broken or full; it may be fixed while the client runs."""


class KeyFileError(DeviceError):
    """The device key can't be read, created or used."""

    kind = ErrorKind.KEY


class ScriptError(DeviceError):
    """A script of the device (identity, inventory) can't be run or prints nothing usable."""

    kind = ErrorKind.SCRIPT


class NotReadyError(DeviceError):
    """Something on this device isn't ready yet, such as the address of an interface; it may become so by itself."""

    kind = ErrorKind.SCRIPT


class StorageError(DeviceError):
    """A file of the client can't be read or written: full, read-only or broken disk, wrong permissions."""

    kind = ErrorKind.STORAGE


class BusyError(DeviceError):
    """Another process is using what is needed: another daemon is running, or an update is being installed."""

    kind = ErrorKind.BUSY


class NothingToDecideError(DeviceError):
    """There is no update in progress that a decision could apply to, or none that waits for this decision."""

    kind = ErrorKind.BUSY


class InstallError(DeviceError):
    """The installation can't be started, or a step of it failed; the deployment has failed."""

    kind = ErrorKind.INSTALL


class NetworkError(MenderError):
    """No answer, or only part of one; trying again later may help."""

    def __init__(self, code: str, text: str = "", *, remedy: str = "", kind: ErrorKind = ErrorKind.OTHER) -> None:
        super().__init__(code, text, remedy=remedy)
        self.kind = kind


class ServerError(MenderError):
    """The server answered, but not with what was asked for.

    Args, besides those of ``MenderError``:
        status: the HTTP status code.
        retry_after_seconds: how long the server asked to wait (``Retry-After``); None if it didn't.
    """

    def __init__(
        self, code: str, text: str = "", *, remedy: str = "", status: int, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(code, text, remedy=remedy)
        self.status = status
        self.retry_after_seconds = retry_after_seconds
        classes = {4: ErrorKind.SERVER_4XX, 5: ErrorKind.SERVER_5XX}
        self.kind = self.kind if self.kind is not ErrorKind.OTHER else classes.get(status // 100, ErrorKind.SERVER)


class UnauthorizedError(ServerError):
    """401: the device is not accepted (yet), or the token is no longer valid. Never final: try again later."""

    kind = ErrorKind.UNAUTHORISED


class NotAcceptedError(UnauthorizedError):
    """401 to an authorisation request: the device is pending acceptance, or was rejected. Waiting is normal."""

    kind = ErrorKind.NOT_ACCEPTED


class AbortedError(ServerError):
    """409 to a status: the deployment has ended on the server; stop working on it."""

    kind = ErrorKind.ABORTED


class UnknownDeploymentError(ServerError):
    """404 to a status, from the server itself; final only if it persists."""


class RefusedLogError(ServerError):
    """The server itself has refused a deployment log; the outcome is more important than the log."""


class ArtifactError(MenderError):
    """The Artifact is broken, hostile, unsigned or not for this device. Downloading it again won't help."""

    kind = ErrorKind.ARTIFACT


class DownloadError(MenderError):
    """The Artifact can't be downloaded within the permitted number of attempts; the deployment has failed."""

    kind = ErrorKind.DOWNLOAD
