"""One tree of errors; each class says whose fault it is and whether trying again can help.

Messages are lower-case, name the file, URL or key, and say what to do next. They never contain a token, a key
or the query of a link: whoever raises takes care of that, because everybody who catches may log.
"""

from __future__ import annotations

from collections.abc import Sequence


class MenderError(Exception):
    """Root of everything this package raises on purpose."""


class ConfigError(MenderError):
    """The operator's settings are wrong; trying again does not help until they change.

    Args:
        problems: one sentence for each fault found, all of them at once.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class DeviceError(MenderError):
    """Something on this device is missing, broken or full; it may be mended while the client runs."""


class KeyFileError(DeviceError):
    """The device key can't be read, made or used."""


class ScriptError(DeviceError):
    """A script of the device (identity, inventory) can't be run or says nothing usable."""


class StorageError(DeviceError):
    """A file of the client can't be read or written: full, read-only or broken disk, wrong permissions."""


class BusyError(DeviceError):
    """Somebody else holds what is needed: another daemon runs, or an update is in the sub-updater's hands."""


class InstallError(DeviceError):
    """The sub-updater can't be started; the deployment has failed."""


class NetworkError(MenderError):
    """No answer, or only part of one; trying again later may help.

    Args:
        message: who was asked and what happened.
        kind: the case in a short word, for programs:

            - ``dns``, ``refused``, ``unreachable``, ``reset``, ``timeout``: the way to the server;
            - ``proxy``: the proxy can't be reached, or doesn't let us through;
            - ``certificate-unknown`` (its issuer isn't trusted), ``certificate-self-signed``, ``certificate-host``
              (it is another host's), ``certificate-expired``, ``certificate-early`` (not valid yet),
              ``certificate`` (any other fault): the server's certificate;
            - ``clock``: the certificate seems out of date because this device's clock is evidently wrong;
            - ``client-certificate``: the server refuses the device's certificate, or misses one;
            - ``tls-version``, ``no-tls`` (plain http where TLS was expected, or the reverse), ``tls``: the handshake;
            - ``protocol``, ``broken-off``, ``too-large``: the answer;
            - ``redirect``: it leads where the client doesn't follow;
            - ``other``: none of these.
    """

    def __init__(self, message: str, *, kind: str = "other") -> None:
        super().__init__(message)
        self.kind = kind


class Interrupted(MenderError):
    """A long operation ended early because the client was asked to stop."""


class ServerError(MenderError):
    """The server answered, but not with what was asked for.

    Args:
        message: what was asked and what came back.
        status: the HTTP status code.
        retry_after_seconds: what the server asked to wait (``Retry-After``), if it did.
    """

    def __init__(self, message: str, *, status: int, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class UnauthorizedError(ServerError):
    """401: not accepted (yet), or the token is no longer good. Never final: ask again later."""


class NotAcceptedError(UnauthorizedError):
    """401 to the authorisation itself: nobody has accepted this device, or somebody has rejected it. A normal wait."""


class AbortedError(ServerError):
    """409 or 404 to a status: the deployment is over on the server; stop working on it."""


class ArtifactError(MenderError):
    """The Artifact is broken, hostile, unsigned or not for this device. Fetching it again won't help."""


class DownloadError(MenderError):
    """The Artifact can't be fetched within the permitted number of tries; the deployment has failed."""
