"""What the server needs to know of an Artifact: its name and its device types."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

from mender_client.errors import ArtifactError


def read_names(path: Path) -> tuple[str, tuple[str, ...]]:
    """Return the Artifact's name and its device types.

    Raises:
        ArtifactError: the file isn't an Artifact.
    """
    try:
        with tarfile.open(path, "r:") as outer:
            member = next(one for one in outer if one.name.startswith("header.tar"))
            with tarfile.open(fileobj=outer.extractfile(member), mode="r:*") as inner:
                file = inner.extractfile("header-info")
                info = json.load(file) if file else {}
        name = info["artifact_provides"]["artifact_name"]
        return name, tuple(info["artifact_depends"]["device_type"])
    except (tarfile.TarError, StopIteration, KeyError, TypeError, ValueError, OSError) as error:
        raise ArtifactError("it is not a Mender Artifact of version 3") from error
