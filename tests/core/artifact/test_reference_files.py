"""The reference tool's Artifacts: their content, read whole and in pieces, and what happens if they are truncated."""

from __future__ import annotations

import io
import random
import tarfile
from typing import Any

import pytest

from core.artifact.forge import DATA, REAL, Trickle, outcome
from core.artifact.signing import check_with, load
from mender_client.core.artifact import ArtifactReader, Compression, Header
from mender_client.errors import ArtifactError

ROOTFS = "683653fe8fa909ab9a0acec971eb08c85a525a7ecf3e7a8db588e8cfb24bb1a4"
SMALL = "572a8a5bcaf189b1efd92e23b0bbc9ca93512e4981c528eb35573849178c99bc"
TEXT = "da2c00402df5f9ea0a99ce45fd3e4d99a87298887fb289478a8087ad5491f935"
SHORT = ("bootstrap-no-payload.mender", "depends-provides.mender")
"""The smallest files, which are truncated at every byte."""
CLEARS_ROOTFS = ["artifact_group", "rootfs_image_checksum", "rootfs-image.*"]


def read(name: str, piece: int = 1 << 20) -> Header:
    """Verify a file."""
    return ArtifactReader(Trickle((DATA / name).read_bytes(), piece), accept_augmented=True).finish()


def file(name: str, size: int, digest: str) -> dict[str, Any]:
    """Describe a payload file."""
    return {"name": name, "size": size, "sha256": digest, "augmented": False}


def rootfs(name: str, compression: str, **changes: Any) -> dict[str, Any]:
    """Describe one of the root file system Artifacts."""
    return {
        "format_version": 3,
        "artifact_name": name,
        "artifact_group": None,
        "compression": compression,
        "signed": False,
        "augmented": False,
        "depends": {"device_type": ["qemux86-64"], "artifact_name": [], "artifact_group": []},
        "scripts": [],
        "payloads": [
            {
                "type": "rootfs-image",
                "provides": {"rootfs-image.checksum": ROOTFS, "rootfs-image.version": name},
                "depends": {},
                "clears": CLEARS_ROOTFS,
                "meta_data": None,
                "files": [file("rootfs.img", 200000, ROOTFS)],
            }
        ],
        **changes,
    }


TWO_BOARDS = {"device_type": ["qemux86-64", "raspberrypi4"], "artifact_name": [], "artifact_group": []}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rootfs-none.mender", rootfs("rootfs-none", "none")),
        ("rootfs-gzip.mender", rootfs("rootfs-gzip", "gzip")),
        ("rootfs-lzma.mender", rootfs("rootfs-lzma", "xz")),
        ("rootfs-zstd_better.mender", rootfs("rootfs-zstd_better", "zstd")),
        ("signed-ecdsa.mender", rootfs("signed-ecdsa", "gzip", signed=True)),
        ("signed-rsa.mender", rootfs("signed-rsa", "gzip", signed=True, depends=TWO_BOARDS)),
    ],
)
def test_rootfs_artifacts_read_as_the_reference_tool_wrote_them(name: str, expected: dict[str, Any]) -> None:
    """Artifacts with each compression and signature are read the same, except for what differs."""
    assert expected == read(name).describe()


def test_a_module_artifact_shows_scripts_meta_data_and_files() -> None:
    """Scripts are read in order with content, meta-data as JSON, and files in the order of the manifest with sizes."""
    header = read("module-files-scripts-meta.mender")
    assert ["ArtifactInstall_Enter_10_check", "ArtifactCommit_Leave_20_done"] == [s.name for s in header.scripts]
    assert b"#!/bin/sh\nexit 0\n" == header.scripts[0].content
    meta_data = {"dest_dir": "/opt/app", "files": ["text.txt"], "nested": {"k": [1, 2.5, "ü"]}}
    assert meta_data == header.payload.meta_data
    files = [file("text.txt", 174893, TEXT), file("small.bin", 1000, SMALL)]
    assert files == header.describe()["payloads"][0]["files"]


def test_depends_and_provides_are_read_in_full() -> None:
    """Name, group and generic depends, group and generic provides, and an explicit clears list are read."""
    header = read("depends-provides.mender")
    assert ("old-1", "old-2") == header.depends_names
    assert ("group1",) == header.depends_groups
    assert "group2" == header.artifact_group
    assert {"rootfs-image.checksum": ("abc",)} == header.payload.depends
    assert {"app.version": "2.1", "rootfs-image.app.version": "depends-provides"} == header.payload.provides
    assert ("app.*", "rootfs-image.app.*") == header.payload.clears


def test_absent_provides_fields_differ_from_empty_ones() -> None:
    """Provides and clears that an Artifact doesn't have are None, not empty."""
    payload = read("no-provides-fields.mender").payload
    assert (None, None) == (payload.provides, payload.clears)


def test_an_artifact_without_payload_is_complete() -> None:
    """An Artifact with the payload type null has a name and provides, but no file."""
    payload = read("bootstrap-no-payload.mender").payload
    assert (None, (), {"rootfs-image.version": "v1"}) == (payload.type, payload.files, payload.provides)


def test_an_empty_file_is_proven_too() -> None:
    """An empty file has a digest and a size of 0."""
    assert [0] == [f.size for f in read("empty-payload-file.mender").payload.files]


def test_augmented_parts_are_taken_only_on_demand() -> None:
    """Augmented parts are refused by default, since no signature covers the augmented manifest."""
    content = (DATA / "augmented.mender").read_bytes()
    assert "manifest-augment lists parts that no signature covers" in str(outcome(content))
    header = ArtifactReader(io.BytesIO(content), accept_augmented=True).finish()
    files = [(f.name, f.augmented) for f in header.payload.files]
    assert (True, [("small.bin", False), ("text.txt", True)]) == (header.augmented, files)


@pytest.mark.parametrize("name", REAL)
def test_pieces_make_no_difference(name: str, is_nightly: bool) -> None:
    """An Artifact read a few bytes at a time, down to one, gives the same as in one piece."""
    for piece in (1, 2, 3, 7) if is_nightly or name in SHORT else (7,):
        assert read(name) == read(name, piece=piece)


@pytest.mark.parametrize("name", REAL)
def test_before_the_payload_is_asked_for_the_header_is_proven(name: str) -> None:
    """Reading the header takes not one byte more than what precedes the payload."""
    content = (DATA / name).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        payload_at = next(member.offset for member in archive if member.name.startswith("data/"))
    stream = Trickle(content, piece=1 << 20)
    ArtifactReader(stream, accept_augmented=True).read_header()
    assert stream.given <= payload_at


def boundaries(content: bytes) -> list[int]:
    """Every offset at which an outer member's header, content or padding begins, and the end of the tar."""
    places = {0, len(content) - 1024, len(content) - 512, len(content) - 1}
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            places |= {member.offset, member.offset_data, member.offset_data + member.size}
            places.add(member.offset_data + member.size + -member.size % 512)
    return sorted(places)


@pytest.mark.parametrize("name", REAL)
def test_a_truncation_at_any_member_boundary_is_refused(name: str) -> None:
    """A truncation at a member boundary isn't mistaken for the end of the Artifact."""
    content = (DATA / name).read_bytes()
    for place in boundaries(content):
        assert "truncated" in str(outcome(content[:place], accept_augmented=True)), place


@pytest.mark.parametrize("name", SHORT)
def test_a_truncation_at_any_byte_is_refused(name: str, is_nightly: bool) -> None:
    """No proper prefix of an Artifact is accepted."""
    content = (DATA / name).read_bytes()
    for place in range(len(content)) if is_nightly else random.Random(1).sample(range(len(content)), 500):
        assert "truncated" in str(outcome(content[:place])), place


@pytest.mark.parametrize(("name", "key"), [("signed-rsa", "rsa3072"), ("signed-ecdsa", "ecdsa")])
def test_the_right_key_accepts_and_every_other_refuses(name: str, key: str) -> None:
    """A signature by any configured key is accepted, so that keys can be rotated; any other key refuses it."""
    content = (DATA / f"{name}.mender").read_bytes()
    right, other = load(DATA / f"{key}.pub"), load(DATA / "other.pub")
    assert isinstance(outcome(content, check_signature=check_with(right)), Header)
    assert isinstance(outcome(content, check_signature=check_with(other, right)), Header)
    assert "none of the keys" in str(outcome(content, check_signature=check_with(other)))


@pytest.mark.parametrize("name", [name for name in REAL if not name.startswith(("signed", "augm"))])
def test_with_a_key_configured_an_unsigned_artifact_is_refused(name: str) -> None:
    """With a key configured, a missing signature is refused."""
    check = check_with(load(DATA / "rsa3072.pub"))
    assert "it is not signed (no manifest.sig)" in str(outcome((DATA / name).read_bytes(), check_signature=check))


def test_what_a_refusal_costs_doesn_t_depend_on_the_payload() -> None:
    """Of a large Artifact signed with a wrong key, only the part up to the signature is read."""
    stream = Trickle((DATA / "signed-rsa.mender").read_bytes(), piece=1 << 20)
    reader = ArtifactReader(stream, check_signature=check_with(load(DATA / "other.pub")))
    with pytest.raises(ArtifactError, match="none of the keys"):
        reader.read_header()
    assert stream.given <= 3072


def test_compression_knows_its_suffix() -> None:
    """The file name suffixes of compressed members are those of the format."""
    assert ["", ".gz", ".xz", ".zst"] == [c.suffix for c in Compression]
