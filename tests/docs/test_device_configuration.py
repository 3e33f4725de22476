"""The program of docs/guide/device-configuration.md, which sets the time zone."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from .test_examples import example


def test_time_zone(tmp_path: Path) -> None:
    """It sets the configured time zone, UTC by default, and refuses one that doesn't exist."""
    zones = tmp_path / "zoneinfo"
    (zones / "Europe").mkdir(parents=True)
    for name in ("UTC", "Europe/Oslo"):
        (zones / name).touch()
    program, configuration, clock = tmp_path / "timezone", tmp_path / "device-config.json", tmp_path / "localtime"
    text = example("docs/guide/device-configuration.md", "Apply it")
    program.write_text(text.replace("/usr/share/zoneinfo", str(zones)).replace("/etc/localtime", str(clock)))
    program.chmod(0o755)
    for configured, code, zone in (
        ({"timezone": "Europe/Oslo"}, 0, "Europe/Oslo"),
        ({"timezone": "Nowhere"}, 1, "Europe/Oslo"),
        ({}, 0, "UTC"),
    ):
        configuration.write_text(json.dumps(configured))
        assert code == subprocess.run([program, configuration], check=False, capture_output=True).returncode
        assert zones / zone == clock.resolve()
