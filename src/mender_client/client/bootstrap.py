"""Gives the software of a new device its name and provides: the bootstrap Artifact (installer contract, section 9)."""

from __future__ import annotations

import logging
from collections.abc import Callable

from mender_client import TYPE_CHECKING
from mender_client.core.model import UNKNOWN_ARTIFACT_NAME, Software, replaced
from mender_client.dataclass import replace
from mender_client.errors import ArtifactError, Diagnostic, MenderError

if TYPE_CHECKING:
    from mender_client.core.artifact import ArtifactReader
    from mender_client.core.ports import DeviceData, Journal

_logger = logging.getLogger(__name__)


def name_software(
    journal: Journal,
    device: DeviceData,
    save_provides: Callable[[Software], str],
    open_artifact: Callable[[], ArtifactReader] | None,
) -> bool:
    """Store a name for software that has none.

    Args:
        journal: where it is stored.
        device: the device, with which the Artifact must be compatible.
        save_provides: as for ``Standalone``.
        open_artifact: opens the bootstrap Artifact; None if there is none, in which case the name is unknown.

    Returns:
        False if the bootstrap Artifact can't be used; the name is then unknown.

    Raises:
        StorageError: the name can't be stored.
    """
    software, is_good = Software(UNKNOWN_ARTIFACT_NAME), True
    if open_artifact is not None:
        try:
            software = _read(device, open_artifact())
            software = replace(software, seen_name=save_provides(software))
            _logger.info("installed software according to the bootstrap Artifact: %s", software.artifact_name)
        except MenderError as error:
            text = f"cannot use the bootstrap Artifact: {error.text}"
            _logger.error("%s", Diagnostic("UPD25", text, error.remedy))
            is_good = False
    journal.update(lambda record: replace(record, software=software))
    return is_good


def _read(device: DeviceData, reader: ArtifactReader) -> Software:
    from mender_client.core.artifact import check_depends

    header = reader.read_header()
    if header.payload.type:
        raise ArtifactError(
            "UPD26", f"it has a payload of the type {header.payload.type!r}", remedy="build it without a payload"
        )
    provides = device.provides()
    check_depends(
        header,
        device_type=provides.device_type,
        artifact_name=provides.artifact_name,
        provides=provides.others,
    )
    reader.finish()
    return replaced(provides, header)
