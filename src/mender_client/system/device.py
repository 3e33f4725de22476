"""Data about the device, from identity and inventory scripts, device_type and artifact_info."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from mender_client.core.keyvalue import KeyValues, parse_key_value_file, parse_key_values
from mender_client.core.model import UNKNOWN_ARTIFACT_NAME, Identity, IdentityFormat, Provides, Software
from mender_client.dataclass import dataclass, field, replace
from mender_client.errors import Diagnostic, ScriptError, StorageError

from .files import read_text, write_atomic
from .process import ProgramError, ScriptLimits, run_script

_logger = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False, repr=False)
class ScriptedDevice:
    """A device as its scripts and files describe it; see ``core.ports.DeviceData``.

    Attributes:
        identity_format: how single identity values are written.
        device_type_file: holds ``device_type=…``.
        artifact_info_file: holds ``artifact_name=…`` and further provides.
        find_problem: returns why a script must not be run; None if it may.
        limits: limits the time and output of each script.
        is_stopping: whether the client is to stop; a running script is then ended.
        identity_values: the identity, instead of the script's output; None: the script is run.
        device_type: the device type, instead of the one in the file; empty: the file is read.
        variables: environment variables for the scripts.
    """

    identity_script: Path
    identity_format: IdentityFormat
    inventory_directory: Path
    device_type_file: Path
    artifact_info_file: Path
    find_problem: Callable[[Path], Diagnostic | None]
    limits: ScriptLimits = ScriptLimits()
    is_stopping: Callable[[], bool] = lambda: False
    identity_values: KeyValues | None = None
    device_type: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._is_artifact_info_missed = False
        self._warnings: list[Diagnostic] = []

    def identity(self) -> Identity:
        """As the port says; never guesses, because the server would treat another identity as another device."""
        if self.identity_values is not None:
            return Identity.from_key_values(self.identity_values, form=self.identity_format)
        output = self._run(self.identity_script)
        try:
            text = output.decode("utf-8")
        except UnicodeDecodeError as error:
            text = f"cannot use {self.identity_script}: its output is not UTF-8 text"
            raise ScriptError("SCR11", text, remedy="correct the script") from error
        return Identity.from_key_values(parse_key_values(text), form=self.identity_format)

    def _run(self, script: Path) -> bytes:
        if problem := self.find_problem(script):
            text = f"cannot run {script}: another user could have written it: {problem.text}"
            raise ScriptError("SCR12", text, remedy=problem.remedy)
        began = time.monotonic()
        try:
            output = run_script(
                [str(script)], limits=self.limits, is_stopping=self.is_stopping, variables=self.variables
            )
        except ProgramError as error:
            how = f"exit code {error.code}" if error.code > 0 else f"signal {-error.code}"
            _logger.debug("ran %s: %s in %.3f s", script, how, time.monotonic() - began)
            raise
        _logger.debug("ran %s: exit code 0, %d bytes in %.3f s", script, len(output), time.monotonic() - began)
        return output

    def inventory(self) -> Sequence[KeyValues]:
        """As the port says, sorted by script name; a warning is logged only when it is new."""
        warnings: list[Diagnostic] = []
        found = [one for script in self._inventory_scripts(warnings) if (one := self._run_inventory(script, warnings))]
        for warning in warnings:
            if warning not in self._warnings:
                _logger.warning("%s", warning)
        self._warnings = warnings
        return found

    def _inventory_scripts(self, warnings: list[Diagnostic]) -> list[Path]:
        if os.path.isfile(self.inventory_directory) and os.access(self.inventory_directory, os.X_OK):
            return [self.inventory_directory]  # a single script
        try:
            entries = sorted(self.inventory_directory.iterdir())
        except FileNotFoundError:
            return []  # same as empty: inventory scripts are optional
        except OSError as error:
            text = f"cannot read the inventory directory {self.inventory_directory}: {error.strerror}"
            warnings.append(Diagnostic("INV11", text, "check its owner and mode"))
            return []
        return [entry for entry in entries if os.path.isfile(entry) and os.access(entry, os.X_OK)]

    def _run_inventory(self, script: Path, warnings: list[Diagnostic]) -> KeyValues | None:
        try:
            output = self._run(script)
        except ScriptError as error:
            warnings.append(Diagnostic("INV12", f"{error.text}: its attributes are left out", error.remedy))
            return None
        parsed = parse_key_values(output.decode("utf-8", "replace"))
        if parsed.malformed:
            count, first = len(parsed.malformed), parsed.malformed[0][:80]
            text = f"{script} printed {count} line(s) that are not key=value, the first is {first!r}"
            warnings.append(Diagnostic("INV13", text, "correct the script"))
        return parsed

    def provides(self) -> Provides:
        """As the port says; polling with a wrong device type would make deployments fail."""
        if self.device_type:
            return replace(self.software(), device_type=self.device_type)
        try:
            pairs = parse_key_value_file(read_text(self.device_type_file))
        except StorageError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            pairs = ()
        device_type = next((value for name, value in pairs if name == "device_type"), "")
        if not device_type:
            text = f"cannot find the device type in {self.device_type_file}"
            remedy = "run 'mender-python-client setup --device-type TYPE', or add a line device_type=TYPE"
            raise StorageError("IDN13", text, remedy=remedy)
        return replace(self.software(), device_type=device_type)

    def software(self) -> Provides:
        """The content of artifact_info, without the device type, which need not be known."""
        info = self._artifact_info()
        name = info.pop("artifact_name", "") or UNKNOWN_ARTIFACT_NAME
        info.pop("device_type", None)
        return Provides("", name, MappingProxyType(info))

    def save_provides(self, software: Software) -> str:
        """Write artifact_info, for a sub-updater or a person to read later.

        Args:
            software: what the device provides now.

        Returns:
            Empty if the file now holds the name of the software; otherwise the name that it holds instead, for example
            because the root file system is read-only.
        """
        lines = {"artifact_name": software.artifact_name, **software.provides}
        try:
            if self._artifact_info() != lines:
                text = "".join(f"{key}={value}\n" for key, value in lines.items())
                write_atomic(self.artifact_info_file, text.encode(), mode=0o644)
        except StorageError as error:
            _logger.info("artifact_info keeps its content: %s", error.text)
            return self._artifact_info().get("artifact_name", "") or UNKNOWN_ARTIFACT_NAME
        return ""

    def _artifact_info(self) -> dict[str, str]:
        try:
            return dict(parse_key_value_file(read_text(self.artifact_info_file)))
        except StorageError as error:
            if not self._is_artifact_info_missed:
                text = f"{error.text}: the artifact name is reported as {UNKNOWN_ARTIFACT_NAME!r}"
                _logger.warning("%s", Diagnostic("IDN14", text, "write a line artifact_name=NAME into the file"))
                self._is_artifact_info_missed = True
            return {}
