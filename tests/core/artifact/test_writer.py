"""Artifacts written by this project: the same bytes for the same input, and read like the reference tool's."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from core.artifact.forge import DATA, REAL, forge, outcome
from core.artifact.signing import PublicKey, check_with
from keys import RSA
from mender_client.core.artifact import (
    ArtifactReader,
    ArtifactSpec,
    Compression,
    Header,
    PayloadSource,
    Readable,
    module_image,
    rootfs_image,
    sign_artifact,
    write_artifact,
)
from mender_client.errors import ArtifactError

SCRIPTS = {"ArtifactInstall_Enter_10_check": b"#!/bin/sh\nexit 0\n", "ArtifactCommit_Leave_20_done": b"#!/bin/sh\n"}


def source(name: str, content: bytes) -> PayloadSource:
    """Make a payload file of bytes."""
    return PayloadSource(name, len(content), lambda: io.BytesIO(content))


def written(spec: ArtifactSpec, *payload: PayloadSource, sign: Callable[[bytes], bytes] | None = None) -> bytes:
    """Write an Artifact into memory."""
    out = io.BytesIO()
    write_artifact(out, spec, payload, sign=sign)
    return out.getvalue()


def payload_of(name: str) -> list[PayloadSource]:
    """Extract the payload files from one of the reference tool's Artifacts."""
    contents = {}
    with (DATA / name).open("rb") as stream:
        for file in ArtifactReader(stream).payload_files():
            content = bytearray(file.size)
            view = memoryview(content)
            while count := file.readinto(view):
                view = view[count:]
            assert 0 == file.readinto(memoryview(bytearray(1)))
            contents[file.name] = bytes(content)
    return [source(name, content) for name, content in contents.items()]


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("rootfs-none", rootfs_image("rootfs-none", ["qemux86-64"], compression=Compression.NONE)),
        ("rootfs-gzip", rootfs_image("rootfs-gzip", ["qemux86-64"])),
        ("rootfs-lzma", rootfs_image("rootfs-lzma", ["qemux86-64"], compression=Compression.XZ)),
        ("rootfs-zstd_better", rootfs_image("rootfs-zstd_better", ["qemux86-64"], compression=Compression.ZSTD)),
        ("empty-payload-file", module_image("empty-file", ["qemux86-64"], "empty-file")),
        (
            "depends-provides",
            ArtifactSpec(
                artifact_name="depends-provides",
                device_types=["qemux86-64"],
                payload_type="app",
                artifact_group="group2",
                depends_names=["old-1", "old-2"],
                depends_groups=["group1"],
                provides={"app.version": "2.1", "rootfs-image.app.version": "depends-provides"},
                depends={"rootfs-image.checksum": ["abc"]},
                clears=["app.*", "rootfs-image.app.*"],
            ),
        ),
        (
            "bootstrap-no-payload",
            ArtifactSpec(
                artifact_name="bootstrap",
                device_types=["qemux86-64"],
                payload_type=None,
                provides={"rootfs-image.version": "v1"},
                clears=["rootfs-image.*"],
            ),
        ),
        (
            "no-provides-fields",
            ArtifactSpec(
                artifact_name="no-default-provides", device_types=["qemux86-64"], payload_type="no-default-provides"
            ),
        ),
        (
            "module-files-scripts-meta",
            module_image(
                "module-single-file",
                ["qemux86-64"],
                "single-file",
                scripts=dict.fromkeys(SCRIPTS, b"#!/bin/sh\nexit 0\n"),
                meta_data={"dest_dir": "/opt/app", "files": ["text.txt"], "nested": {"k": [1, 2.5, "ü"]}},
            ),
        ),
    ],
)
def test_ours_read_the_same_as_the_reference_tool_s(name: str, spec: ArtifactSpec) -> None:
    """The same input gives the same description with either writer, digests included."""
    with (DATA / f"{name}.mender").open("rb") as stream:
        expected = ArtifactReader(stream).finish().describe()
    ours = written(spec, *payload_of(f"{name}.mender"))
    assert expected == ArtifactReader(io.BytesIO(ours)).finish().describe()


@pytest.mark.parametrize("compression", Compression)
def test_the_same_input_gives_the_same_bytes(compression: Compression) -> None:
    """An Artifact contains no time, user or host name, and its gzip headers contain neither name nor time."""
    spec = rootfs_image("name", ["board"], compression=compression, scripts=SCRIPTS)
    file = source("rootfs.img", b"content" * 100000)
    first = written(spec, file, sign=lambda _: b"signature")
    assert first == written(spec, file, sign=lambda _: b"signature")
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        members = [(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in archive]
    assert {(0, 0, 0, "", "", 0o600)} == set(members)


def test_usual_fields_give_way_to_given_ones() -> None:
    """Fields that the caller gives take precedence over the defaults."""
    spec = module_image("name", ["board"], "app", provides={"a": "b"}, clears=None, depends={"k": ["1", "2"]})
    header = ArtifactReader(io.BytesIO(written(spec))).finish()
    assert ({"a": "b"}, None) == (header.payload.provides, header.payload.clears)
    assert {"k": ("1", "2")} == header.payload.depends


def test_long_and_foreign_names_are_written_and_read() -> None:
    """A name that doesn't fit into ustar is written in an extended header."""
    names = ["x" * 150, "übergrößenträger", "z" * 100]
    content = written(module_image("name", ["board"], "app"), *(source(name, b"content") for name in names))
    assert names == [file.name for file in ArtifactReader(io.BytesIO(content)).finish().payload.files]


@pytest.mark.parametrize(
    ("spec", "payload", "expected"),
    [
        ({}, [source("a/b", b"")], "plain name"),
        ({}, [source("\udcff", b"")], "a broken one"),
        ({}, [source("a", b""), source("A", b"")], "look the same"),
        ({"payload_type": None}, [source("a", b"")], "files but no payload type"),
        ({"checksum_key": "sum"}, [], "'sum' needs exactly one payload file, and there are 0"),
        ({"scripts": {"../x": b""}}, [], "plain name"),
        ({"device_types": []}, [], "names no Artifact or no device type"),
        ({"artifact_name": "a\nb"}, [], "isn't a string of one line"),
        ({"meta_data": {"a": object()}}, [], "can't be written as JSON"),
        ({"meta_data": {"a": "\ud800"}}, [], "can't be written as JSON"),
        ({"meta_data": {"a": float("nan")}}, [], "a number is out of range"),
        ({"provides": {"a=b": "c"}}, [], "can't be the key of a key=value line"),
        ({}, [PayloadSource("a", 8, lambda: io.BytesIO(b"content"))], "has 7 bytes instead of 8"),
    ],
)
def test_what_a_reader_would_refuse_isn_t_written(
    spec: dict[str, Any], payload: list[PayloadSource], expected: str
) -> None:
    """The writer enforces the reader's rules, and reports a violation before it writes a byte."""
    given = {"artifact_name": "name", "device_types": ["board"], "payload_type": "app", **spec}
    out = io.BytesIO()
    with pytest.raises(ArtifactError) as caught:
        write_artifact(out, ArtifactSpec(**given), payload)
    assert expected in str(caught.value)
    assert b"" == out.getvalue()


def test_a_source_that_changes_meanwhile_is_noticed() -> None:
    """Bytes that differ from those whose digest is in the manifest are an error."""
    contents = iter([b"before!", b"after!!"])
    file = PayloadSource("file", 7, lambda: io.BytesIO(next(contents)))
    with pytest.raises(ArtifactError, match="'file' changed while it was read"):
        written(module_image("name", ["board"], "app"), file)


class Huge(io.BytesIO):
    """An output with a wrong position: once the payload is written, ``tell`` is nine GiB too high."""

    def tell(self) -> int:
        """Jump once the payload has been written."""
        return super().tell() + (9 << 30 if super().tell() > 100_000 else 0)


def test_a_payload_over_8_gib_is_an_error() -> None:
    """A payload of more than 8 GiB is an error, since its size doesn't fit into the header reserved for it."""
    spec = module_image("name", ["board"], "app", compression=Compression.NONE)
    with pytest.raises(ArtifactError, match="larger than 8 GiB"):
        write_artifact(Huge(), spec, [source("file", bytes(200_000))])


def test_sources_are_closed() -> None:
    """Every source that is opened is closed."""
    events: list[str] = []

    @contextmanager
    def opened() -> Iterator[Readable]:
        events.append("open")
        yield io.BytesIO(b"content")
        events.append("close")

    written(module_image("name", ["board"], "app"), PayloadSource("file", 7, opened))
    assert ["open", "close"] * 2 == events


ECDSA = ec.generate_private_key(ec.SECP256R1())


def sign_rsa(manifest: bytes) -> bytes:
    """Sign with RSA as the format requires."""
    return RSA.sign(manifest, padding.PKCS1v15(), SHA256())


def sign_der(manifest: bytes) -> bytes:
    """Sign with ECDSA, DER."""
    return ECDSA.sign(manifest, ec.ECDSA(SHA256()))


def sign_raw(manifest: bytes) -> bytes:
    """Sign with ECDSA, r followed by s."""
    r, s = decode_dss_signature(sign_der(manifest))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


@pytest.mark.parametrize("sign", [sign_rsa, sign_der, sign_raw])
def test_signatures_of_each_kind_are_accepted_by_their_key_alone(sign: Callable[[bytes], bytes]) -> None:
    """RSA, ECDSA in DER and raw ECDSA signatures are accepted with their own key and refused with another one."""
    content = written(rootfs_image("name", ["board"]), source("rootfs.img", b"content"), sign=sign)
    keys: list[PublicKey] = [RSA.public_key(), ECDSA.public_key()]
    right, wrong = keys if sign is sign_rsa else keys[::-1]
    assert isinstance(outcome(content, check_signature=check_with(right)), Header)
    assert "none of the keys" in str(outcome(content, check_signature=check_with(wrong)))


def signed(content: bytes, sign: Callable[[bytes], bytes]) -> bytes:
    """Sign an Artifact in memory."""
    out = io.BytesIO()
    sign_artifact(io.BytesIO(content), out, sign)
    return out.getvalue()


def outer_members(content: bytes) -> list[bytes]:
    """Split an Artifact into its outer members, with headers and padding, without the signature."""
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        infos = [member for member in archive if member.name != "manifest.sig"]
    return [content[m.offset : m.offset_data + m.size + -m.size % 512] for m in infos]


@pytest.mark.parametrize("name", REAL)
def test_signing_changes_nothing_but_the_signature(name: str) -> None:
    """All members but the signature stay the same byte for byte; a previous signature is replaced."""
    before = (DATA / name).read_bytes()
    after = signed(before, sign_rsa)
    assert outer_members(before) == outer_members(after)
    accepted = outcome(after, check_signature=check_with(RSA.public_key()), accept_augmented=True)
    assert isinstance(accepted, Header)
    assert accepted.signed
    again = signed(after, sign_rsa)
    assert after == again


def test_signing_what_is_no_artifact_is_an_error() -> None:
    """Data that doesn't begin with version and manifest is not signed."""
    for content in (b"", bytes(1024), b"x" * 512, forge()[1024:]):
        with pytest.raises(ArtifactError):
            signed(content, sign_rsa)


def test_signing_an_artifact_that_ends_after_the_manifest_copies_it() -> None:
    """Only the manifest is signed; verifying the rest is up to the caller."""
    cut = forge()[:2048]
    assert b"".join(outer_members(cut + bytes(1024))) == cut
    assert signed(cut + bytes(1024), sign_rsa).endswith(bytes(1024))


def test_without_any_zstd_writing_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine without a zstd library the message names the extra to install."""
    import sys

    for module in ("compression", "zstandard"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ArtifactError, match=r"mender-python-client\[zstd\]"):
        written(module_image("name", ["board"], "app", compression=Compression.ZSTD))
