"""How this package refuses an Artifact: one error, a code for each kind of refusal, names of strangers made harmless.

A name inside an Artifact may hold line ends or terminal sequences; whoever logs the message must not be harmed.
"""

from __future__ import annotations

from mender_client.errors import ArtifactError

_SHOWN_CHARACTERS = 80
_REBUILD = "build it again with mender-artifact or 'artifact write', and upload it again"


def malformed(reason: str) -> ArtifactError:
    """The error for an Artifact that no known tool writes.

    Args:
        reason: what is wrong, beginning with the name of the part that is; so for the other functions.
    """
    return ArtifactError("ART01", f"cannot accept the Artifact: {reason}", remedy=_REBUILD)


def damaged(reason: str) -> ArtifactError:
    """The error for an Artifact that was damaged or truncated on its way."""
    return ArtifactError(
        "ART02",
        f"cannot accept the Artifact: {reason}",
        remedy="compare its SHA-256 with that of the file on the build machine, and upload it again",
    )


def mismatched(reason: str) -> ArtifactError:
    """The error for a part whose digest is not the one in the manifest."""
    return ArtifactError(
        "ART03",
        f"cannot accept the Artifact: {reason}",
        remedy="compare its SHA-256 with that of the file on the build machine, and upload it again",
    )


def over_limit(reason: str) -> ArtifactError:
    """The error for an Artifact that exceeds a limit; a hostile one may try to."""
    return ArtifactError(
        "ART04",
        f"cannot accept the Artifact: {reason}",
        remedy="find out who made it; no sane Artifact exceeds the limits",
    )


def unsupported(reason: str, remedy: str) -> ArtifactError:
    """The error for an Artifact of a format or a compression that this client or this device does not support."""
    return ArtifactError("ART05", f"cannot accept the Artifact: {reason}", remedy=remedy)


def no_artifact(error: ArtifactError) -> ArtifactError:
    """The error for a file that doesn't even begin as an Artifact: most likely it is another file.

    Args:
        error: what was found wrong with its first member.
    """
    reason = error.text.removeprefix("cannot accept the Artifact: ")
    return ArtifactError(
        "ART06",
        f"cannot accept the Artifact: this is not a Mender Artifact, or a damaged one: {reason}",
        remedy="check that the right file was uploaded",
    )


def shown(name: str) -> str:
    """Quote a name that a stranger chose, clipped and without control characters, for a message."""
    clipped = name if len(name) <= _SHOWN_CHARACTERS else name[:_SHOWN_CHARACTERS] + "…"
    return repr(clipped)
