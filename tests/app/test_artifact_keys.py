"""``ArtifactVerifyKey`` in the configuration takes effect in the check of downloaded Artifacts."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import forking
from mender_client.app.assemble import DeviceParts
from mender_client.app.config import load_config
from mender_client.app.host import Host
from mender_client.app.paths import Paths
from mender_client.core.artifact import ArtifactReader
from mender_client.errors import ArtifactError, ConfigError

DATA = Path(__file__).parents[1] / "data" / "artifacts"


def device(root: Path, **settings: Any) -> Paths:
    """Make a device below a root, with the reference keys on it."""
    paths = Paths.locate(root=str(root))
    paths.config.parent.mkdir(parents=True)
    paths.config.write_text(json.dumps({"ServerURL": "http://127.0.0.1:9", **settings}))
    for key in DATA.glob("*.pub"):
        (paths.config.parent / key.name).write_bytes(key.read_bytes())
    return paths


def parts_of(paths: Paths) -> DeviceParts:
    """Assemble the parts of a device."""
    config = load_config(paths.config, paths.fallback_config).config
    return DeviceParts(Host(config, paths), config, paths)


@pytest.mark.parametrize(
    "settings",
    [
        {"ArtifactVerifyKey": "/etc/mender/rsa3072.pub"},
        {"ArtifactVerifyKeys": ["/etc/mender/other.pub", "/etc/mender/rsa3072.pub"]},
    ],
    ids=["one", "several"],
)
def test_configured_keys_lie_below_the_root_and_are_used(tmp_path: Path, settings: dict[str, Any]) -> None:
    """An Artifact signed with a configured key is accepted; one with another signature or none is refused."""
    paths = device(tmp_path, **settings)
    keys = parts_of(paths).verify_keys
    assert keys is not None
    for name, reason in (("signed-rsa", ""), ("signed-ecdsa", "none of the keys"), ("rootfs-none", "not signed")):
        stream = io.BytesIO((DATA / f"{name}.mender").read_bytes())
        if not reason:
            assert ArtifactReader(stream, check_signature=keys).finish().signed
            continue
        with pytest.raises(ArtifactError, match=reason):
            ArtifactReader(stream, check_signature=keys).finish()


def test_without_keys_there_is_no_check(tmp_path: Path) -> None:
    """Without configured keys, no verifier is created."""
    paths = device(tmp_path, ArtifactVerifyKeys=[])
    assert parts_of(paths).verify_keys is None


def test_an_empty_path_is_a_fault(tmp_path: Path) -> None:
    """An empty path in the list is refused, since its meaning is unclear."""
    paths = device(tmp_path, ArtifactVerifyKeys=["/etc/mender/other.pub", ""])
    with pytest.raises(ConfigError, match=r"mender\.conf: ArtifactVerifyKeys: must not contain an empty path"):
        load_config(paths.config, paths.fallback_config)


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({"ArtifactVerifyKey": "/etc/mender/gone.pub"}, "ArtifactVerifyKey"),
        ({"ArtifactVerifyKeys": ["/etc/mender/gone.pub"]}, "ArtifactVerifyKeys"),
    ],
    ids=["one", "several"],
)
def test_the_daemon_doesn_t_start_with_a_bad_key(tmp_path: Path, settings: dict[str, Any], setting: str) -> None:
    """The daemon exits with code 78 and one line that names the setting and the file."""
    paths = device(tmp_path, **settings)
    argv = [str(forking.python()), "-m", "mender_client", "--root", str(tmp_path), "--no-syslog", "daemon"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert 78 == done.returncode
    line = f"mender-python-client: {setting}: cannot read the key {paths.config.parent}/gone.pub: No such file"
    assert line in done.stderr
    assert "Traceback" not in done.stderr


def test_an_idle_daemon_loads_nothing_of_this() -> None:
    """The signature modules are loaded for a configured key or the first Artifact, not before."""
    code = "import sys, mender_client.app.daemon; print([name for name in sys.modules if 'signature' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[]\n" == done.stdout
