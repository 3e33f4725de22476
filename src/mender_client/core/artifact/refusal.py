"""How this package says no: one error, one form of message, names of strangers made harmless first.

A name inside an Artifact may hold line ends or terminal sequences; whoever logs the message must not be harmed.
"""

from __future__ import annotations

from mender_client.errors import ArtifactError

_SHOWN_CHARACTERS = 80
_PREFIX = "cannot accept the Artifact: "


def refusal(reason: str, *, remedy: str = "build it anew and upload it again") -> ArtifactError:
    """Build the error that ends the reading of an Artifact.

    Args:
        reason: what is wrong, beginning with the name of the part that is.
        remedy: what the reader of the message can do about it.

    Returns:
        The error, ready to be raised.
    """
    return ArtifactError(f"{_PREFIX}{reason}; {remedy}")


def no_artifact(error: ArtifactError) -> ArtifactError:
    """Build the error for a file that doesn't even begin as an Artifact: most likely it is another file.

    Args:
        error: what was found wrong with its first member.
    """
    reason = str(error).removeprefix(_PREFIX).rpartition("; ")[0]
    return refusal(
        f"this is no Mender Artifact, or a damaged one: {reason}", remedy="check that the right file was uploaded"
    )


def shown(name: str) -> str:
    """Quote a name that a stranger chose, clipped and without control characters, for a message."""
    clipped = name if len(name) <= _SHOWN_CHARACTERS else name[:_SHOWN_CHARACTERS] + "…"
    return repr(clipped)
