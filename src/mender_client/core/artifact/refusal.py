"""The errors for refusing an Artifact, one for each kind of reason.

A name inside an Artifact may contain line ends or terminal control sequences: ``shown`` makes it safe to print.
"""

from __future__ import annotations

from mender_client.errors import ArtifactError

_SHOWN_CHARACTERS = 80
_REBUILD = "build it again with mender-artifact or 'artifact write', and upload it again"
_COMPARE = "compare the Artifact's SHA-256 with that of the file on the build machine, and upload it again"


def malformed(reason: str) -> ArtifactError:
    """The error for an Artifact that no known tool writes; every ``reason`` begins with the name of the faulty part."""
    return ArtifactError("ART01", f"cannot accept the Artifact: {reason}", remedy=_REBUILD)


def damaged(reason: str) -> ArtifactError:
    """The error for an Artifact that was damaged or truncated in transit."""
    return ArtifactError("ART02", f"cannot accept the Artifact: {reason}", remedy=_COMPARE)


def mismatched(reason: str) -> ArtifactError:
    """The error for a part whose digest differs from the one in the manifest."""
    return ArtifactError("ART03", f"cannot accept the Artifact: {reason}", remedy=_COMPARE)


def over_limit(reason: str) -> ArtifactError:
    """The error for an Artifact that exceeds a limit, perhaps with hostile intent."""
    return ArtifactError(
        "ART04",
        f"cannot accept the Artifact: {reason}",
        remedy="check where it comes from; a valid Artifact does not exceed the limits",
    )


def unsupported(reason: str, remedy: str) -> ArtifactError:
    """The error for an Artifact with a format or compression that this client or this device does not support."""
    return ArtifactError("ART05", f"cannot accept the Artifact: {reason}", remedy=remedy)


def no_artifact(error: ArtifactError) -> ArtifactError:
    """The error for a file that doesn't begin like an Artifact, derived from the error about its first member."""
    reason = error.text.removeprefix("cannot accept the Artifact: ")
    return ArtifactError(
        "ART06",
        f"cannot accept the Artifact: this is not a Mender Artifact, or it is damaged: {reason}",
        remedy="check that the right file was uploaded",
    )


def shown(name: str) -> str:
    """Quote an untrusted name for a message, truncated and without control characters."""
    clipped = name if len(name) <= _SHOWN_CHARACTERS else name[:_SHOWN_CHARACTERS] + "…"
    return repr(clipped)
