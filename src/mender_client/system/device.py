"""What the device says about itself: identity and inventory scripts, device_type, artifact_info."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType

from mender_client.core.keyvalue import KeyValues, parse_key_values
from mender_client.core.model import UNKNOWN_ARTIFACT_NAME, Identity, IdentityFormat, Provides
from mender_client.errors import ScriptError, StorageError

from .files import read_text
from .process import ScriptLimits, run_script

_logger = logging.getLogger(__name__)


class ScriptedDevice:
    """A device as its scripts and files describe it; see ``core.ports.DeviceData``.

    Args:
        identity_script: prints the identity.
        identity_format: how single identity values are written.
        inventory_directory: holds the inventory scripts.
        device_type_file: holds ``device_type=…``.
        artifact_info_file: holds ``artifact_name=…`` and further provides.
        find_fault: why a script must not be run, in words; empty when it may.
        limits: time and output of each script.
        is_stopping: whether the client is to stop; a script that runs then is ended.
    """

    def __init__(
        self,
        *,
        identity_script: Path,
        identity_format: IdentityFormat,
        inventory_directory: Path,
        device_type_file: Path,
        artifact_info_file: Path,
        find_problem: Callable[[Path], str],
        limits: ScriptLimits | None = None,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._identity_script = identity_script
        self._identity_format = identity_format
        self._inventory_directory = inventory_directory
        self._device_type_file = device_type_file
        self._artifact_info_file = artifact_info_file
        self._find_problem = find_problem
        self._limits = limits or ScriptLimits()
        self._is_stopping = is_stopping
        self._is_artifact_info_missed = False
        self._warnings: list[str] = []

    def identity(self) -> Identity:
        """Run the identity script.

        Raises:
            ScriptError: it can't be run, another user could have written it, it failed, printed nothing usable or no
                UTF-8: a guessed identity would be another device.
        """
        output = self._run(self._identity_script)
        try:
            text = output.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ScriptError(f"cannot use {self._identity_script}: it printed no UTF-8 text") from error
        return Identity.from_key_values(parse_key_values(text), form=self._identity_format)

    def _run(self, script: Path) -> bytes:
        if fault := self._find_problem(script):
            raise ScriptError(f"cannot run {script}: another user could have written it: {fault}")
        return run_script([str(script)], limits=self._limits, is_stopping=self._is_stopping)

    def inventory(self) -> Sequence[KeyValues]:
        """Run every executable file of the inventory directory, by name; what fails is left out.

        A warning says so when it is news: an inventory that fails as the one before has nothing to say.
        """
        warnings: list[str] = []
        found = [one for script in self._inventory_scripts(warnings) if (one := self._run_inventory(script, warnings))]
        for warning in warnings:
            if warning not in self._warnings:
                _logger.warning("%s", warning)
        self._warnings = warnings
        return found

    def _inventory_scripts(self, warnings: list[str]) -> list[Path]:
        try:
            entries = sorted(self._inventory_directory.iterdir())
        except OSError as error:
            warnings.append(f"cannot read the inventory directory {self._inventory_directory}: {error.strerror}")
            return []
        return [entry for entry in entries if os.path.isfile(entry) and os.access(entry, os.X_OK)]

    def _run_inventory(self, script: Path, warnings: list[str]) -> KeyValues | None:
        try:
            output = self._run(script)
        except ScriptError as error:
            warnings.append(f"{error}; its attributes are left out")
            return None
        parsed = parse_key_values(output.decode("utf-8", "replace"))
        if parsed.malformed:
            count, first = len(parsed.malformed), parsed.malformed[0][:80]
            warnings.append(f"{script} printed {count} line(s) that are not key=value, the first is {first!r}")
        return parsed

    def provides(self) -> Provides:
        """Read device_type and artifact_info.

        Raises:
            StorageError: there is no usable device type; asking the server with a wrong one would end deployments.
        """
        device_type = _first(parse_key_values(read_text(self._device_type_file)), "device_type")
        if not device_type:
            raise StorageError(
                f"cannot find the device type in {self._device_type_file}; write a line device_type=<type> into it"
            )
        info = self._artifact_info()
        name = info.pop("artifact_name", "") or UNKNOWN_ARTIFACT_NAME
        info.pop("device_type", None)
        return Provides(device_type, name, MappingProxyType(info))

    def _artifact_info(self) -> dict[str, str]:
        try:
            parsed = parse_key_values(read_text(self._artifact_info_file))
        except StorageError as error:
            if not self._is_artifact_info_missed:
                _logger.warning("%s; the artifact name is taken as %r", error, UNKNOWN_ARTIFACT_NAME)
                self._is_artifact_info_missed = True
            return {}
        return {key.strip(): value.strip() for key, value in parsed.pairs}


def _first(parsed: KeyValues, key: str) -> str:
    return next((value.strip() for name, value in parsed.pairs if name.strip() == key), "")
