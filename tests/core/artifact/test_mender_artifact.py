"""Artifacts made by mender-artifact 3.9.0 with each of its options: Artifacts already in use must install."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from core.artifact.forge import DATA, Forge, info, outcome, type_info
from core.artifact.signing import check_with, load
from mender_client.core.artifact import ArtifactReader, Header

SAMPLES = DATA / "mender-artifact-3.9.0"
MAKE = DATA / "make-samples"
NAMES = sorted(path.stem for path in SAMPLES.glob("*.mender") if path.stem != "format-2")
IMAGE = b"".join(b"line %d of the image\n" % number for number in range(1, 501))
CHECKSUM = hashlib.sha256(IMAGE).hexdigest()
META_DATA = {"directory": "/opt/app", "nested": {"list": [1, 2.5, "ü"]}}
ROOTFS_CLEARS = ("artifact_group", "rootfs_image_checksum", "rootfs-image.*")


@pytest.fixture(scope="module", params=["kept", "made"])
def samples(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The samples of this repository, and the same samples made by the tool on this machine."""
    if request.param == "kept":
        return SAMPLES
    if shutil.which("mender-artifact") is None:
        pytest.skip("mender-artifact isn't installed")
    directory = tmp_path_factory.mktemp("samples")
    subprocess.run([MAKE, directory], check=True)
    return directory


def read(path: Path) -> Header:
    """Verify a sample; augmented parts are accepted."""
    with path.open("rb") as stream:
        return ArtifactReader(stream, accept_augmented=True).finish()


def described(path: Path) -> dict[str, Any]:
    """The description of a sample, with its scripts sorted by name."""
    document = read(path).describe()
    return {**document, "scripts": sorted(document["scripts"], key=lambda script: script["name"])}


@pytest.mark.parametrize("name", NAMES)
def test_each_is_read_as_the_kept_one(samples: Path, name: str) -> None:
    """The tool on this machine writes what the one of the samples wrote, except for the order of the scripts."""
    kept, made = (described(directory / f"{name}.mender") for directory in (SAMPLES, samples))
    assert kept == made


def test_the_samples_are_all_that_the_script_makes(samples: Path) -> None:
    """The script that makes the samples and the directory of samples list the same files."""
    assert sorted(path.name for path in SAMPLES.iterdir()) == sorted(path.name for path in samples.iterdir())


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith(("module", "bootstrap"))])
def test_the_type_of_an_image_is_that_of_header_info(samples: Path, name: str) -> None:
    """An image with type "" in type-info is a rootfs-image, as header-info says."""
    payload = read(samples / f"{name}.mender").payload
    assert ("rootfs-image", [("rootfs.img", CHECKSUM)]) == (payload.type, [(f.name, f.sha256) for f in payload.files])


PROVIDES = {"rootfs-image.checksum": CHECKSUM, "rootfs-image.version": "release-2"}


@pytest.mark.parametrize(
    ("name", "provides", "clears"),
    [
        ("plain", PROVIDES, ROOTFS_CLEARS),
        ("provides", {**PROVIDES, "c": "3", "d": "4"}, ROOTFS_CLEARS),
        ("clears", PROVIDES, ("x.*", "y", *ROOTFS_CLEARS)),
        ("no-checksum", {"rootfs-image.version": "release-2"}, ROOTFS_CLEARS),
        ("legacy-checksum", {"rootfs_image_checksum": CHECKSUM, "rootfs-image.version": "release-2"}, ROOTFS_CLEARS),
        ("no-default-clears", PROVIDES, None),
        ("no-version", {"rootfs-image.checksum": CHECKSUM}, None),
        ("bare", None, None),
        ("module", {"rootfs-image.app.version": "release-2"}, ("rootfs-image.app.*",)),
        ("module-bare", None, None),
        ("module-software", {"data.other.version": "5"}, ("data.other.*",)),
        ("module-depends", {"b": "2", "rootfs-image.app.version": "release-2"}, ("c", "rootfs-image.app.*")),
        ("bootstrap", None, None),
        ("bootstrap-full", {"a": "1"}, ("c",)),
    ],
)
def test_provides_and_clears(samples: Path, name: str, provides: dict[str, str] | None, clears: Any) -> None:
    """The provides and clears that each option adds or leaves out."""
    payload = read(samples / f"{name}.mender").payload
    assert (provides, clears) == (payload.provides, payload.clears)


def test_depends_groups_scripts_and_meta_data(samples: Path) -> None:
    """Depended names, groups and key-value pairs, scripts with their content, and meta-data as JSON are read."""
    header = read(samples / "depends.mender")
    assert (("release-1", "release-0"), ("group-1", "group-2")) == (header.depends_names, header.depends_groups)
    assert {"a": ("1",), "b": ("2",)} == header.payload.depends
    assert "group-3" == read(samples / "provides.mender").artifact_group
    scripts = {script.name: script.content for script in read(samples / "scripts.mender").scripts}
    names = ("ArtifactCommit_Leave_20", "ArtifactInstall_Enter_10_check")
    assert dict.fromkeys(names, b"#!/bin/sh\nexit 0\n") == scripts
    assert META_DATA == read(samples / "module.mender").payload.meta_data
    assert ("board", "other-board") == read(samples / "two-types.mender").device_types


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("signed-rsa", "rsa"),
        ("signed-ec", "ec"),
        ("signed-later", "ec"),
        ("module-scripts", "ec"),
        ("bootstrap-full", "rsa"),
    ],
)
def test_signatures_of_both_kinds(samples: Path, name: str, key: str) -> None:
    """A signature is accepted with its own key and refused with another one."""
    keys = {kind: load(samples / f"{kind}.pub") for kind in ("rsa", "ec")}
    content = (samples / f"{name}.mender").read_bytes()
    assert isinstance(outcome(content, check_signature=check_with(keys.pop(key))), Header)
    assert "none of the keys" in str(outcome(content, check_signature=check_with(*keys.values())))


def test_format_2_is_refused_in_one_sentence(samples: Path) -> None:
    """The message names the format and what to do."""
    expected = (
        "cannot accept the Artifact: it is of format version 2, and this client reads 3; build it again in format 3"
    )
    assert f"{expected} [ART05]" == str(outcome((samples / "format-2.mender").read_bytes()))


@pytest.mark.parametrize("declared", [None, "app"])
def test_a_type_that_differs_is_refused(declared: str | None) -> None:
    """A type in type-info that differs from header-info is refused, unless it is empty."""
    for said in ("other", None if declared else "app", "" if declared is None else " "):
        forged = Forge(info=info(payloads=[{"type": declared}]), type_info=type_info(type=said), files=[])
        assert isinstance(outcome(forged.build()), str)


def test_an_empty_type_in_header_info_is_refused() -> None:
    """An empty type in header-info is refused, since nothing else gives the type of the payload."""
    forged = Forge(info=info(payloads=[{"type": ""}]), type_info=type_info(type=""))
    assert "'type' in payloads in header-info isn't a string of one line" in str(outcome(forged.build()))
