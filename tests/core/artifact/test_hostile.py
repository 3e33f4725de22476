"""The refuse list: each way to make an invalid or hostile Artifact, and the message with which it is refused."""

from __future__ import annotations

import gzip
import io
import lzma
import shutil
import subprocess
import sys
import tarfile
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import zstandard

from core.artifact.forge import (
    GNU,
    HEADER_INFO,
    SUFFIXES,
    Forge,
    Trickle,
    dump,
    forge,
    info,
    outcome,
    outer,
    pack,
    padded,
    pax,
    pax_record,
    sha256,
    tar,
    tar_block,
    tar_file,
    type_info,
)
from mender_client.core.artifact import ArtifactReader, Header, Limits
from mender_client.errors import ArtifactError

HEADER_FILES = [tar_file("header-info", info()), tar_file("headers/0000/type-info", type_info())]
PLAIN = Forge()
MEMBERS = PLAIN.members()


def swapped(first: int, second: int) -> bytes:
    """Build an Artifact with two outer members swapped."""
    members = list(MEMBERS)
    members[first], members[second] = members[second], members[first]
    return outer(members)


def one_file(block: bytes, content: bytes = b"content") -> bytes:
    """Build an Artifact whose payload member is this header and content."""
    return forge(payload_members=[block + padded(content)])


def listed(*lines: str) -> bytes:
    """Build an Artifact whose manifest has these lines before the correct ones."""
    return "".join(f"{line}\n" for line in (*lines, *PLAIN.lines())).encode()


def named(*names: str) -> bytes:
    """Build an Artifact whose payload files have these names, all of them in the manifest."""
    return forge(files=[(name, b"content") for name in names])


def base256() -> bytes:
    """Build a size field in GNU's base 256."""
    return b"\x80" + bytes(9) + b"\x00\x07"


def negative() -> bytes:
    """Build a negative size field in GNU's base 256."""
    return b"\xff" * 12


DIGEST = sha256(b"content")
HEADER_LINE = PLAIN.lines()[-2]
VERSION_LINE = PLAIN.lines()[-1]

REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    # Format
    "nothing": (lambda: b"", "this is not a Mender Artifact, or it is damaged: the Artifact is truncated; check that"),
    "a web page": (lambda: b"<html>" * 200, "isn't a valid tar"),
    "an empty tar": (lambda: bytes(1024), "version is missing; the Artifact ends there"),
    "format 2": (lambda: forge(version=dump({"format": "mender", "version": 2})), "format version 2"),
    "format true": (lambda: forge(version=dump({"format": "mender", "version": True})), "doesn't say"),
    "another format": (lambda: forge(version=dump({"format": "other", "version": 3})), "doesn't say"),
    "a list as version": (lambda: forge(version=b"[]"), "isn't a JSON object"),
    "a huge version": (lambda: forge(version=b" " * 20000 + b"{}"), "more than the limit of 16384"),
    # Order and number of members
    "no manifest": (lambda: outer([MEMBERS[0], *MEMBERS[2:]]), "manifest is missing; there is 'header.tar'"),
    "manifest first": (lambda: swapped(0, 1), "version is missing; there is 'manifest'"),
    "no header": (lambda: outer([*MEMBERS[:2], MEMBERS[3]]), "header.tar is missing; there is"),
    "payload before header": (lambda: swapped(2, 3), "header.tar is missing"),
    "the end after the manifest": (lambda: outer(MEMBERS[:2]), "header.tar is missing; the Artifact ends"),
    "no payload": (lambda: outer(MEMBERS[:3]), "data/0000.tar is missing"),
    "the payload twice": (lambda: outer([*MEMBERS, MEMBERS[3]]), "follows the payload"),
    "a second payload": (lambda: forge(extra={"data/0001.tar": tar()}), "follows the payload"),
    "an unknown member": (lambda: outer([*MEMBERS[:3], ("extra", b""), MEMBERS[3]]), "in the place of data/0000.tar"),
    "the wrong header name": (lambda: outer([*MEMBERS[:2], ("header.tar.gz", b""), MEMBERS[3]]), "is missing"),
    "header-augment alone": (lambda: forge(augment_header=tar()), "in the place of data/0000.tar"),
    "bytes after the end": (lambda: forge() + b"x", "bytes after its end"),
    "an Artifact after the end": (lambda: forge() * 2, "bytes after its end"),
    "one zero block, then bytes": (lambda: forge(tail=bytes(512) + b"x" * 512), "bytes after its end"),
    "endless padding": (lambda: forge(tail=bytes(2 << 20)), "padded with more than 1048576 zeros"),
    "bytes in the padding": (
        lambda: forge().replace(b"content" + bytes(505), b"content" + bytes(504) + b"x"),
        "padding between its members",
    ),
    # The manifest
    "a digest that differs": (
        lambda: forge(manifest=listed().replace(DIGEST[:8].encode(), b"0" * 8)),
        "isn't what the manifest says",
    ),
    "a changed payload": (lambda: forge(payload_members=[tar_file("file", b"CONTENT")]), "isn't what the manifest"),
    "a changed header": (
        lambda: outer([*MEMBERS[:2], ("header.tar", tar(*HEADER_FILES, end=bytes(1536))), MEMBERS[3]]),
        "'header.tar' isn't what the manifest says",
    ),
    "a changed version": (
        lambda: outer([("version", b' {"format":"mender","version":3}'), *MEMBERS[1:]]),
        "'version' isn't what the manifest says",
    ),
    "a file that the manifest lacks": (
        lambda: forge(payload_members=[tar_file("file", b"content"), tar_file("more", b"")]),
        "'data/0000/more' isn't in the manifest",
    ),
    "a file that never arrives": (
        lambda: forge(manifest=listed(f"{DIGEST}  data/0000/more")),
        "'data/0000/more' is in the manifest, but not in the payload",
    ),
    "no version line": (lambda: forge(manifest=f"{HEADER_LINE}\n".encode()), "doesn't list version"),
    "no header line": (lambda: forge(manifest=f"{VERSION_LINE}\n".encode()), "doesn't list header.tar"),
    "two headers": (lambda: forge(manifest=listed(f"{DIGEST}  header.tar.gz")), "lists two headers"),
    "an unknown entry": (lambda: forge(manifest=listed(f"{DIGEST}  other")), "has no place in an Artifact"),
    "an entry of payload 1": (lambda: forge(manifest=listed(f"{DIGEST}  data/0001/file")), "a second payload"),
    "an entry with a path": (lambda: forge(manifest=listed(f"{DIGEST}  data/0000/a/b")), "plain name"),
    "an entry going up": (lambda: forge(manifest=listed(f"{DIGEST}  data/0000/..")), "plain name"),
    "an entry twice": (lambda: forge(manifest=listed(PLAIN.lines()[0])), "'data/0000/file' twice"),
    "upper-case digits": (lambda: forge(manifest=listed().upper()), "line 1, isn't a SHA-256"),
    "one space": (lambda: forge(manifest=listed().replace(b"  ", b" ")), "line 1, isn't a SHA-256"),
    "a blank line": (lambda: forge(manifest=listed("")), "line 1, isn't a SHA-256"),
    "no line end": (lambda: forge(manifest=listed()[:-1]), "doesn't end with a newline"),
    "an empty manifest": (lambda: forge(manifest=b""), "doesn't list version"),
    "a manifest of other bytes": (lambda: forge(manifest=b"\xff\n"), "manifest isn't UTF-8"),
    "a manifest of twenty thousand lines": (
        lambda: forge(manifest=listed(*(f"{DIGEST}  data/0000/{n}" for n in range(20_000)))),
        "more than the limit of 1048576",
    ),
    "a signature that isn't base64": (lambda: forge(signature=b"!!"), "manifest.sig isn't base64"),
    "a huge signature": (lambda: forge(signature=b"A" * 20000), "more than the limit of 16384"),
    # Names
    "a path": (lambda: named("a/b"), "plain name"),
    "an absolute name": (lambda: named("/a"), "plain name"),
    "the parent directory": (lambda: named(".."), "plain name"),
    "this directory": (lambda: named("."), "plain name"),
    "a name with a line end": (lambda: forge(payload_members=[tar_file("a\nb", b"")]), "control character"),
    "a name with a terminal sequence": (lambda: named("a\x1b[2J"), r"'a\x1b[2J', a name with a control"),
    "a name over 255 bytes": (lambda: named("ü" * 128), "more than 255 bytes"),
    "a name with a NUL": (lambda: forge(payload_members=[tar_file(b"a\0b", b"")]), "NUL in its name"),
    "a name of other bytes": (lambda: forge(payload_members=[tar_file(b"\xff", b"")]), "isn't UTF-8"),
    "an empty name": (lambda: forge(payload_members=[tar_file("", b"")]), "plain name"),
    "a prefix": (lambda: one_file(tar_block("file", 7, rest=b"directory")), "plain name"),
    "names that differ in Unicode form": (lambda: named("\u00fc", "u\u0308"), "which look the same"),
    "names that differ in compatibility": (lambda: named("\ufb01", "fi"), "which look the same"),
    "names that differ in case": (lambda: named("File", "file"), "which look the same"),
    "a payload file twice": (
        lambda: forge(payload_members=[tar_file("file", b"content")] * 2),
        "'file' twice",
    ),
    # Tar
    "a link": (lambda: one_file(tar_block("file", kind=b"1", link=b"/etc/passwd"), b""), "tar type '1'"),
    "a symbolic link": (lambda: one_file(tar_block("file", kind=b"2", link=b"/"), b""), "tar type '2'"),
    "a character device": (lambda: one_file(tar_block("file", kind=b"3"), b""), "tar type '3'"),
    "a block device": (lambda: one_file(tar_block("file", kind=b"4"), b""), "tar type '4'"),
    "a directory": (lambda: one_file(tar_block("file", kind=b"5"), b""), "tar type '5'"),
    "a FIFO": (lambda: one_file(tar_block("file", kind=b"6"), b""), "tar type '6'"),
    "a contiguous file": (lambda: one_file(tar_block("file", kind=b"7"), b""), "tar type '7'"),
    "a global header": (lambda: one_file(tar_block("file", 7, kind=b"g")), "tar type 'g'"),
    "a GNU long name": (lambda: one_file(tar_block("././@LongLink", 7, kind=b"L")), "tar type 'L'"),
    "a GNU long link": (lambda: one_file(tar_block("././@LongLink", 7, kind=b"K")), "tar type 'K'"),
    "a GNU sparse file": (lambda: one_file(tar_block("file", 7, kind=b"S", magic=GNU)), "tar type 'S'"),
    "a sparse map": (lambda: one_file(tar_block("file", 7, magic=GNU, rest=b"\0" * 41 + b"1")), "sparse map"),
    "a regular file with a link name": (lambda: one_file(tar_block("file", 7, link=b"x")), "a link name"),
    "bytes after the prefix": (lambda: one_file(tar_block("file", 7, rest=bytes(155) + b"x")), "other extras"),
    "an old tar": (lambda: one_file(tar_block("file", 7, magic=bytes(8))), "isn't a valid tar"),
    "a wrong checksum": (lambda: one_file(tar_block("file", 7, checksum=b"000001\0 ")), "wrong checksum"),
    "an empty checksum": (lambda: one_file(tar_block("file", 7, checksum=b"        ")), "isn't octal"),
    "a size in base 256": (lambda: one_file(tar_block("file", size_field=base256())), "isn't octal"),
    "a negative size": (lambda: one_file(tar_block("file", size_field=negative())), "isn't octal"),
    "a size with a minus sign": (lambda: one_file(tar_block("file", size_field=b"-0000000007\0")), "isn't octal"),
    "a decimal size": (lambda: one_file(tar_block("file", size_field=b"00000000009\0")), "isn't octal"),
    "a size past a NUL": (lambda: one_file(tar_block("file", size_field=b"0000007\x001234")), "isn't octal"),
    "no size": (lambda: one_file(tar_block("file", size_field=bytes(12))), "isn't octal"),
    "a mode in base 256": (lambda: one_file(tar_block("file", 7, mode=b"\x80" + bytes(7))), "isn't octal"),
    "a size over the end": (lambda: one_file(tar_block("file", 10**6)), "data/0000.tar is truncated"),
    "a huge header size": (
        lambda: outer(MEMBERS[:2])[:-1024] + tar_block("header.tar", 8**11 - 1),
        "more than the limit of 2097152",
    ),
    "an exbibyte of payload": (
        lambda: outer(MEMBERS[:3])[:-1024] + pax(pax_record("size", str(1 << 59))) + tar_block("data/0000.tar"),
        "data/0000.tar has 576460752303423488 bytes, more than the limit of 68719476736",
    ),
    "a setuid bit": (lambda: one_file(tar_block("file", 7, mode=b"0004755\0")), "setuid, setgid or sticky bit"),
    "a setgid bit": (lambda: one_file(tar_block("file", 7, mode=b"0102755\0")), "setuid, setgid or sticky bit"),
    "a sticky bit": (lambda: one_file(tar_block("file", 7, mode=b"0001644\0")), "setuid, setgid or sticky bit"),
    "a device number": (lambda: one_file(tar_block("file", 7, device=b"0000010\0")), "a device number"),
    # Extended headers that different readers interpret differently
    "a size record over a smaller size": (lambda: with_header(pax_record("size", "7"), "file", 3), "7 bytes to some"),
    "a size record over a size of 0": (lambda: with_header(pax_record("size", "7"), "file", 0), "7 bytes to some"),
    "a size record under a larger size": (lambda: with_header(pax_record("size", "7"), "file", 600), "7 bytes to some"),
    "a path record over another name": (
        lambda: with_header(pax_record("path", "file"), "other", 7),
        "'file' to some readers, 'other' to others",
    ),
    "a path record over a path": (lambda: with_header(pax_record("path", "file"), "../file", 7), "'file' to some"),
    "a long path record over another name": (
        lambda: with_header(pax_record("path", "f" * 120), "f" * 99, 7, listed="f" * 120),
        "to some readers",
    ),
    "a foreign path record over another name": (
        lambda: with_header(pax_record("path", "für"), "for", 7, listed="für"),
        "'für' to some readers, 'for' to others",
    ),
    "an outer path record": (lambda: outer_pax("path", "manifest", "version"), "'manifest' to some readers"),
    "an outer size record": (lambda: outer_pax("size", "7", "manifest"), "7 bytes to some readers"),
    # Extended headers
    "an unknown record": (lambda: with_pax(pax_record("linkpath", "x")), "'linkpath', which has no place"),
    "a sparse record": (lambda: with_pax(pax_record("GNU.sparse.major", "1")), "which has no place"),
    "a record twice": (lambda: with_pax(pax_record("path", "a") * 2), "'path', which has no place"),
    "a path record that goes up": (lambda: with_pax(pax_record("path", "../file")), "'../file' to some readers"),
    "a path record with a NUL": (lambda: with_pax(pax_record("path", "a\0b")), "broken extended header"),
    "a path record of other bytes": (lambda: with_pax(b"9 path=\xff\n"), "isn't UTF-8"),
    "a size record that lies": (lambda: with_pax(pax_record("size", "99999999")), "99999999 bytes to some readers"),
    "a negative size record": (lambda: with_pax(pax_record("size", "-7")), "a size that isn't a number"),
    "a huge size record": (lambda: with_pax(pax_record("size", "9" * 19)), "a size that isn't a number"),
    "a size record in other digits": (lambda: with_pax(pax_record("size", "\u0667")), "a size that isn't a number"),
    "a record without length": (lambda: with_pax(b"path=file\n"), "broken extended header"),
    "a record of length 0": (lambda: with_pax(b"0 path=file\n"), "broken extended header"),
    "a record that is too long": (lambda: with_pax(b"99 path=file\n"), "broken extended header"),
    "a record without a line end": (lambda: with_pax(b"12 path=file"), "broken extended header"),
    "a record without a value": (lambda: with_pax(b"7 path\n"), "broken extended header"),
    "two extended headers": (
        lambda: with_pax(pax_record("path", "a"), pax_record("path", "b")),
        "two extended headers in a row",
    ),
    "a large extended header": (lambda: with_pax(pax_record("path", "a" * 5000)), "over 4096"),
    "an extended header for a link": (
        lambda: forge(payload_members=[pax(pax_record("path", "a")) + tar_block("x", kind=b"2")]),
        "tar type '2'",
    ),
    "bytes in an extended header's padding": (
        lambda: forge(payload_members=[pax(pax_record("path", "a"))[:-1] + b"x"]),
        "padding of an extended header",
    ),
    "an extended header at the end": (lambda: forge(payload_members=[pax(b"")]), "isn't a valid tar"),
    # The header
    "a header without header-info": (lambda: forge(header_members=HEADER_FILES[1:]), "out of order"),
    "an empty header": (lambda: forge(header_members=[]), "lacks header-info"),
    "a header without type-info": (lambda: forge(header_members=HEADER_FILES[:1]), "lacks headers/0000/type-info"),
    "a header out of order": (lambda: forge(header_members=HEADER_FILES[::-1]), "out of order"),
    "header-info twice": (lambda: forge(header_members=HEADER_FILES[:1] * 2), "'header-info' twice"),
    "an unknown file": (lambda: forge(header_members=[*HEADER_FILES, tar_file("x", b"")]), "'x', which has no place"),
    "a second type-info": (
        lambda: forge(header_members=[*HEADER_FILES, tar_file("headers/0001/type-info", b"")]),
        "which has no place",
    ),
    "a script after type-info": (
        lambda: forge(header_members=[*HEADER_FILES, tar_file("scripts/x", b"")]),
        "out of order",
    ),
    "a script with a path": (lambda: forge(scripts=[("../x", b"")]), "plain name"),
    "a thousand scripts": (
        lambda: forge(scripts=[(f"s{n}", b"") for n in range(1000)]),
        "more than the limit of 512 files",
    ),
    "a huge header-info": (lambda: forge(info=info(x="y" * 300000)), "more than the limit of 262144"),
    "a header that isn't JSON": (lambda: forge(info=b"{"), "header-info isn't valid JSON"),
    "JSON of other bytes": (lambda: forge(info=b"\xff"), "header-info isn't valid JSON"),
    "JSON with a key twice": (lambda: forge(info=b'{"payloads":[],"payloads":[]}'), "a key occurs twice"),
    "JSON too deep": (lambda: forge(meta_data=b'{"a":' * 40000), "meta-data isn't valid JSON"),
    "a number without end": (lambda: forge(meta_data=b'{"a":' + b"9" * 9999 + b"}"), "a number is too long"),
    "a number out of range": (lambda: forge(meta_data=b'{"a":1e999}'), "a number is out of range"),
    "a number that is none": (lambda: forge(meta_data=b'{"a":NaN}'), "a number is out of range"),
    "half a character": (lambda: forge(meta_data=b'{"a":"\\ud800"}'), "isn't valid JSON"),
    "meta-data that isn't an object": (lambda: forge(meta_data=b"[1]"), "isn't a JSON object"),
    "two payloads": (lambda: forge(info=info(payloads=[{"type": "a"}] * 2)), "lists 2 payloads"),
    "no payload entry": (lambda: forge(info=info(payloads=[])), "lists 0 payloads"),
    "payloads that aren't objects": (lambda: forge(info=info(payloads=["app"])), "doesn't list its payloads"),
    "no payloads": (lambda: forge(info=info(payloads=None)), "doesn't list its payloads"),
    "types that differ": (lambda: forge(type_info=type_info(type="other")), "different payload types"),
    "a type that isn't a string": (lambda: forge(info=info(payloads=[{"type": 1}])), "isn't a string of one line"),
    "no provides": (lambda: forge(info=info(artifact_provides=None)), "lacks artifact_provides"),
    "no name": (lambda: forge(info=info(artifact_provides={})), "names no Artifact"),
    "an empty name of the Artifact": (
        lambda: forge(info=info(artifact_provides={"artifact_name": ""})),
        "isn't a string of one line",
    ),
    "a name of two lines": (
        lambda: forge(info=info(artifact_provides={"artifact_name": "a\nb=c"})),
        "isn't a string of one line",
    ),
    "no device type": (lambda: forge(info=info(artifact_depends={"device_type": []})), "no device type"),
    "a device type as a string": (
        lambda: forge(info=info(artifact_depends={"device_type": "board"})),
        "isn't a list of strings",
    ),
    "depends that nobody knows": (
        lambda: forge(info=info(artifact_depends={"device_type": ["board"], "moon": ["full"]})),
        "'moon', which this client doesn't know",
    ),
    "provides that aren't an object": (lambda: forge(type_info=type_info(artifact_provides=[])), "isn't an object"),
    "a provided number": (lambda: forge(type_info=type_info(artifact_provides={"a": 1})), "a string of one line"),
    "a provided key with =": (
        lambda: forge(type_info=type_info(artifact_provides={"a=b": "c"})),
        "can't be the key of a key=value line",
    ),
    "a dependency on nothing": (lambda: forge(type_info=type_info(artifact_depends={"a": None})), "a string of"),
    "clears that aren't strings": (
        lambda: forge(type_info=type_info(clears_artifact_provides=[1])),
        "isn't a list of strings",
    ),
    "files without a payload": (
        lambda: forge(info=info(payloads=[{"type": None}]), type_info=type_info(type=None)),
        "says that there is no payload",
    ),
}


def with_pax(*records: bytes) -> bytes:
    """Build an Artifact whose payload file has extended headers."""
    return forge(payload_members=[*(pax(record) for record in records), tar_file("file", b"content")])


def with_header(record: bytes, name: str, size: int, *, listed: str = "file") -> bytes:
    """Build an Artifact whose payload file has an extended header before a header with another name or size."""
    member = pax(record) + tar_block(name, size) + padded(b"content")
    return forge(files=[(listed, b"content")], payload_members=[member])


def outer_pax(key: str, value: str, name: str) -> bytes:
    """Build an Artifact whose manifest has an extended header before a header with another name or size."""
    version, _, *rest = (tar_file(*member) for member in MEMBERS)
    return tar(version, pax(pax_record(key, value)), tar_file(name, MEMBERS[1][1]), *rest)


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_with_a_clear_message(case: str) -> None:
    """Each item of the refuse list raises one ArtifactError that names the fault in one printable line."""
    build, expected = REFUSED[case]
    message = str(outcome(build()))
    assert expected in message
    assert message.startswith("cannot accept the Artifact: ")
    assert message.isprintable()


def test_the_plain_artifact_of_these_tests_is_accepted() -> None:
    """The Artifact from which the rows of the table are made is valid, so a refusal is caused by the row's change."""
    assert isinstance(outcome(forge()), Header)


ACCEPTED: dict[str, Callable[[], bytes]] = {
    "more padding": lambda: forge(tail=bytes(10240)),
    "GNU headers": lambda: forge(payload_members=[tar_file("file", b"content", magic=GNU)]),
    "a NUL type": lambda: forge(payload_members=[tar_file("file", b"content", kind=b"\0")]),
    "blanks around numbers": lambda: one_file(tar_block("file", size_field=b"         7 \0")),
    "a path record as Python writes it": lambda: with_header(
        pax_record("path", "ü" * 101), "?" * 100, 7, listed="ü" * 101
    ),
    "a path record as Go writes it": lambda: with_header(pax_record("path", "für"), "fr", 7, listed="für"),
    "a path record for a long name": lambda: with_header(pax_record("path", "x" * 120), "x" * 100, 7, listed="x" * 120),
    "a path record that says the same": lambda: with_header(pax_record("path", "file"), "file", 7),
    "a size record that says the same": lambda: with_header(pax_record("size", "7"), "file", 7),
    "a time with fractions": lambda: with_header(pax_record("mtime", "1.5"), "file", 7),
    "an owner that doesn't fit": lambda: with_header(pax_record("uid", "3000000"), "file", 7),
    "no files": lambda: forge(files=[]),
    "null for an absent field": lambda: forge(
        type_info=type_info(artifact_provides=None, artifact_depends=None, clears_artifact_provides=None)
    ),
    "an empty provided value": lambda: forge(type_info=type_info(artifact_provides={"a": ""})),
    "no payload at all": lambda: outer(
        Forge(info=info(payloads=[{"type": None}]), type_info=type_info(type=None), files=[]).members()[:3]
    ),
    "other names in an Artifact of two": lambda: named("a", "b", "ü", "ß"),
    "a signature that nobody checks": lambda: forge(signature=b"AAAA\n"),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_is_unusual_but_sound_is_accepted(case: str) -> None:
    """Everything unusual that a correct writer may produce is accepted."""
    assert isinstance(outcome(ACCEPTED[case]()), Header)


def as_busybox_reads(artifact: bytes) -> bytes:
    """The content of the payload's file as read by busybox, which doesn't support extended headers."""
    with tarfile.open(fileobj=io.BytesIO(artifact)) as archive:
        stored = archive.extractfile("data/0000.tar")
        assert stored is not None
        return subprocess.run(["busybox", "tar", "-xO"], input=stored.read(), capture_output=True, check=True).stdout


@pytest.mark.skipif(shutil.which("busybox") is None, reason="busybox isn't installed")
@pytest.mark.parametrize("case", [case for case in ACCEPTED if "record" in case or "number" in case or "GNU" in case])
def test_what_is_accepted_is_the_same_to_busybox(case: str) -> None:
    """A sub-updater that unpacks an accepted Artifact with busybox gets what was verified."""
    assert b"content" == as_busybox_reads(ACCEPTED[case]())


@pytest.mark.skipif(shutil.which("busybox") is None, reason="busybox isn't installed")
def test_a_size_record_is_refused_because_busybox_believes_the_header() -> None:
    """Busybox would unpack less than was verified, so a size record over a smaller size is refused."""
    assert b"con" == as_busybox_reads(REFUSED["a size record over a smaller size"][0]())


# Compressed members


def zeros(size: int, compression: str) -> bytes:
    """Compress zeros at a high ratio."""
    if compression == "gzip":
        return gzip.compress(bytes(size), 9, mtime=0)
    if compression == "xz":
        return lzma.compress(bytes(size))
    return zstandard.ZstdCompressor(level=19, write_content_size=False).compress(bytes(size))


COMPRESSED = ["gzip", "xz", "zstd"]
DECODER_BYTES = 12 << 20
"""8 MiB are for the dictionary of xz, the rest for this package."""


@pytest.mark.parametrize("compression", COMPRESSED)
@pytest.mark.parametrize("part", ["header", "payload"])
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda packed: packed + b"x", "continues after the end"),
        (lambda packed: packed + bytes(512), "continues after the end"),
        (lambda packed: packed[:-1], "truncated"),
        (lambda packed: packed[: len(packed) // 2], "truncated"),
        (lambda packed: packed[:2], "truncated"),
        (lambda packed: b"", "truncated"),
        (lambda packed: b"not compressed at all" * 100, ""),
        (lambda packed: packed[:-3] + bytes([packed[-3] ^ 1]) + packed[-2:], "can't be decompressed"),
    ],
)
def test_a_compressed_member_is_one_whole_stream(
    compression: str, part: str, change: Callable[[bytes], bytes], expected: str
) -> None:
    """A broken checksum, truncation, zeros or a trailing byte is refused, in header and payload alike."""
    sound = Forge(compression=compression)
    packed = sound.header_stored() if part == "header" else sound.payload_stored()
    changed = replace(sound, header=change(packed)) if part == "header" else replace(sound, payload=change(packed))
    message = str(outcome(changed.build()))
    assert expected in message
    assert f"{part if part == 'header' else 'data/0000'}.tar{SUFFIXES[compression]} " in message


@pytest.mark.parametrize(
    ("compression", "expected"),
    [("gzip", "contains bytes after its end"), ("xz", "continues after the end"), ("zstd", "continues after the end")],
)
def test_a_second_archive_behind_the_payload_is_refused(compression: str, expected: str) -> None:
    """A second archive is refused: in xz and zstd as a second stream, in gzip as data after the end of the archive."""
    packed = Forge(compression=compression).payload_stored()
    assert expected in str(outcome(forge(compression=compression, payload=packed * 2)))


@pytest.mark.parametrize("cut", [1, 100, 512, 1500])
@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_a_row_of_gzip_members_is_one_stream(cut: int, piece: int) -> None:
    """Concatenated gzip members are one stream, wherever they are split, and with empty members between them."""
    archive = tar(tar_file("file", b"content"))
    packed = b"".join(pack(archive[start : start + cut], "gzip") for start in range(0, len(archive), cut))
    for row in (packed, pack(b"", "gzip") * 3 + packed + pack(b"", "gzip")):
        assert isinstance(outcome(forge(compression="gzip", payload=row), piece=piece), Header)


def test_each_gzip_member_of_a_row_must_be_sound() -> None:
    """A broken checksum, a truncated last member, or other data between the members is refused."""
    archive = tar(tar_file("file", b"content"))
    first, second = pack(archive[:700], "gzip"), pack(archive[700:], "gzip")
    broken = first[:-8] + bytes([first[-8] ^ 1]) + first[-7:]
    assert "can't be decompressed" in str(outcome(forge(compression="gzip", payload=broken + second)))
    assert "truncated" in str(outcome(forge(compression="gzip", payload=first + second[:-1])))
    assert "continues after the end" in str(outcome(forge(compression="gzip", payload=first + b"\0" + second)))
    assert "can't be decompressed" in str(outcome(forge(compression="gzip", payload=first + b"\x1f" + second)))


def test_gzip_members_without_content_are_limited() -> None:
    """The number of consecutive empty gzip members is limited, so that reading can't go on without output."""
    packed, empty = Forge(compression="gzip").payload_stored(), pack(b"", "gzip")
    assert isinstance(outcome(forge(compression="gzip", payload=empty * 4096 + packed)), Header)
    message = str(outcome(forge(compression="gzip", payload=empty * 5000 + packed)))
    assert "data/0000.tar.gz has more than 4096 empty gzip members in a row" in message


@pytest.mark.parametrize("compression", COMPRESSED)
def test_garbage_after_a_tar_inside_a_compressed_member_is_refused(compression: str) -> None:
    """Data after the end of the inner tar is refused."""
    packed = pack(tar(tar_file("file", b"content")) + b"x", compression)
    assert "bytes after its end" in str(outcome(forge(compression=compression, payload=packed)))


@pytest.mark.parametrize("compression", COMPRESSED)
def test_a_bomb_in_the_header_ends_early(compression: str) -> None:
    """A header that expands beyond its limit is refused, in constant memory."""
    bomb = zeros(24 << 20, compression)
    message, peak = measured(forge(compression=compression, header=bomb), Limits())
    assert "padded with more" in message
    script = pack(tar(*HEADER_FILES[:1], tar_file("scripts/x", bytes(9 << 20)), HEADER_FILES[1]), compression)
    assert "more than the limit of 8388608" in str(outcome(forge(compression=compression, header=script)))
    assert peak < DECODER_BYTES


@pytest.mark.parametrize("compression", COMPRESSED)
def test_a_bomb_in_the_payload_ends_before_it_is_expanded(compression: str) -> None:
    """Payload files whose sizes are too large in total are refused because of their headers, in constant memory."""
    parts = Forge(compression=compression, files=[("a", bytes(1 << 19)), ("b", bytes(8 << 20))])
    message, peak = measured(parts.build(), Limits(payload_bytes=8 << 20))
    assert "data/0000.tar" + SUFFIXES[compression] + " contains files of more than 8388608 bytes" in message
    assert peak < DECODER_BYTES


@pytest.mark.parametrize("compression", COMPRESSED)
def test_zeros_behind_the_files_of_the_payload_end_early(compression: str) -> None:
    """Zeros after the last file are padding, which is limited."""
    payload = pack(tar(tar_file("file", b"content")) + bytes(24 << 20), compression)
    message, peak = measured(forge(compression=compression, payload=payload), Limits())
    assert "padded with more than 1048576 zeros" in message
    assert peak < DECODER_BYTES


@pytest.mark.parametrize("compression", COMPRESSED)
def test_an_image_of_mostly_zeros_is_no_bomb(compression: str, is_nightly: bool) -> None:
    """An image is accepted however well it can be compressed."""
    image = b"boot" + bytes((160 if is_nightly else 16) << 20)
    payload = pack(tar(tar_file("file", image)), compression)
    assert isinstance(outcome(forge(compression=compression, files=[("file", image)], payload=payload)), Header)


def test_ten_thousand_files_are_accepted() -> None:
    """A payload of ten thousand small files is accepted."""
    assert isinstance(outcome(named(*(f"file-{number}" for number in range(10_000)))), Header)


def measured(content: bytes, limits: Limits) -> tuple[str, int]:
    """Verify an Artifact; give the message and the peak memory use of Python."""
    stream = Trickle(content, 1 << 20)
    tracemalloc.start()
    try:
        ArtifactReader(stream, limits=limits).finish()
    except ArtifactError as error:
        return str(error), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    raise AssertionError("it was accepted")


def test_a_huge_xz_dictionary_is_refused() -> None:
    """An xz stream that requires more memory than permitted is refused without allocating it."""
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 512 << 20}]
    packed = lzma.compress(tar(tar_file("file", b"content")), filters=filters)
    assert "data/0000.tar.xz needs more memory to be decompressed than" in str(
        outcome(forge(compression="xz", payload=packed))
    )


def test_a_huge_zstd_window_is_refused() -> None:
    """A zstd frame that requires more memory than permitted is refused without allocating it."""
    parameters = zstandard.ZstdCompressionParameters(window_log=30, write_content_size=False)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = compressor.compress(tar(tar_file("file", b"content"))) + compressor.flush()
    assert "data/0000.tar.zst needs more memory to be decompressed than" in str(
        outcome(forge(compression="zstd", payload=packed))
    )


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (b"\x50\x2a\x4d\x18\x04\0\0\0abcd", "doesn't begin with a zstd frame"),
        (b"\x28\xb5\x2f\xfd\x00\x00" + (1 << 21 | 5).to_bytes(4, "little")[:3], "a zstd block of"),
        (b"\x28\xb5\x2f\xfd\x00\x00\x07\0\0", "can't be decompressed"),
        (b"\x28\xb5\x2f\xfd", "truncated"),
        (b"\x28\xb5\x2f\xfd\xe3\0\0", "truncated"),
    ],
)
def test_odd_zstd_frames_are_refused(frame: bytes, expected: str) -> None:
    """A skippable frame, a block over the format's limit, a reserved block type or a truncated header is refused."""
    assert expected in str(outcome(forge(compression="zstd", payload=frame)))


def test_every_block_of_a_zstd_frame_passes() -> None:
    """Raw, repeated and compressed blocks are decompressed correctly, with and without checksum and content size."""
    content = bytes(300000) + bytes(range(256)) * 900 + b"text " * 90000
    for checksum, size in ((False, True), (True, False), (True, True)):
        compressor = zstandard.ZstdCompressor(write_checksum=checksum, write_content_size=size)
        packed = compressor.compress(tar(tar_file("file", content)))
        parts = Forge(compression="zstd", files=[("file", content)], payload=packed)
        assert isinstance(outcome(parts.build()), Header)


def test_without_any_zstd_the_refusal_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a device without a zstd library the message names the extra to install."""
    for module in ("compression", "zstandard"):
        monkeypatch.setitem(sys.modules, module, None)
    assert "mender-python-client[zstd]" in str(outcome(forge(compression="zstd")))


# Refused early and for good


@pytest.mark.parametrize("compression", ["none", *COMPRESSED])
def test_a_bad_header_costs_nothing_of_the_payload(compression: str) -> None:
    """Of an Artifact of 64 MiB with a digest mismatch in its header, less than 256 KiB is read."""
    parts = Forge(compression=compression, files=[("file", b"")], payload=bytes(64 << 20))
    manifest = "".join(f"{line}\n" for line in parts.lines()).encode()
    stream = Trickle(replace(parts, manifest=manifest, header=b"another header").build(), 1 << 20)
    with pytest.raises(ArtifactError, match="isn't what the manifest says"):
        ArtifactReader(stream).read_header()
    assert stream.given < 256 * 1024


def test_what_was_refused_stays_refused() -> None:
    """A reader that has failed never returns a header and never finishes successfully, however often it is called."""
    for content in (b"", forge(payload_members=[tar_file("file", b"CONTENT")])):
        reader = ArtifactReader(io.BytesIO(content))
        with pytest.raises(ArtifactError):
            reader.finish()
        with pytest.raises(ArtifactError, match="refused already"):
            reader.finish()
    reader = ArtifactReader(io.BytesIO(b""))
    for expected in ("truncated", "refused already"):
        with pytest.raises(ArtifactError, match=expected):
            reader.read_header()


def test_a_header_that_lies_is_not_looked_into() -> None:
    """The digest is verified before the header is parsed: a malformed header is reported as a digest mismatch."""
    message = str(outcome(outer([*MEMBERS[:2], ("header.tar", b"no tar"), MEMBERS[3]])))
    assert "isn't what the manifest says" in message


def test_the_signature_is_checked_before_anything_is_parsed() -> None:
    """The signature is verified before the manifest is parsed: a malformed manifest is reported as wrongly signed."""

    def check(manifest: bytes, signature: bytes) -> None:
        raise ArtifactError(f"wrong: {manifest!r} {signature!r}")

    message = outcome(forge(manifest=b"broken", signature=b"c2ln"), check_signature=check)
    assert "wrong: b'broken' b'sig'" == message


# Augmented parts


def augmented(**parts: Any) -> str | Header:
    """Verify an Artifact with a header-augment; augmented parts are accepted."""
    header = tar(tar_file("header-info", info()), tar_file("headers/0000/type-info", type_info()))
    header = parts.pop("augment_header", header)
    lines = parts.pop("lines", None)
    if lines is None:
        lines = [f"{DIGEST}  data/0000/more", f"{sha256(header)}  header-augment.tar"]
    base = Forge(
        augment="".join(f"{line}\n" for line in lines).encode(),
        augment_header=header,
        payload_members=[tar_file("file", b"content"), tar_file("more", b"content")],
    )
    forged = replace(base, **{"manifest": listed(), **parts})
    return outcome(forged.build(), accept_augmented=True)


def augment_header(
    type_info_bytes: bytes, *, info_bytes: bytes = dump(HEADER_INFO), meta_data: bytes | None = None
) -> bytes:
    """Build a header-augment."""
    members = [tar_file("header-info", info_bytes), tar_file("headers/0000/type-info", type_info_bytes)]
    if meta_data is not None:
        members.append(tar_file("headers/0000/meta-data", meta_data))
    return tar(*members)


def test_an_augmented_artifact_is_read_when_it_is_accepted() -> None:
    """The augmented manifest adds files, which are marked as augmented."""
    header = augmented()
    assert isinstance(header, Header)
    assert [("file", False), ("more", True)] == [(file.name, file.augmented) for file in header.payload.files]


def test_a_header_augment_adds_provides_depends_and_meta_data() -> None:
    """A header-augment may add provides, depends and meta-data that the header doesn't have."""
    added = type_info(artifact_provides={"a": "1"}, artifact_depends={"b": ["2", "3"]})
    plain = Forge(type_info=type_info(artifact_provides={"c": "4"}))
    lines = "".join(f"{line}\n" for line in plain.lines()).encode()
    header = augmented(
        type_info=plain.type_info,
        manifest=lines,
        augment_header=augment_header(added, meta_data=b'{"m":5}'),
    )
    assert isinstance(header, Header)
    assert {"c": "4", "a": "1"} == header.payload.provides
    assert {"b": ("2", "3")} == header.payload.depends
    assert {"m": 5} == header.payload.meta_data


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"lines": [VERSION_LINE]}, "lists version, which only manifest may"),
        ({"lines": [PLAIN.lines()[0]]}, "'data/0000/file' twice"),
        ({"lines": [HEADER_LINE]}, "has no place in an Artifact"),
        ({"lines": [f"{DIGEST}  data/0000/FILE"]}, "look the same"),
        ({"lines": [f"{DIGEST}  header-augment.tar"]}, "'header-augment.tar' isn't what the manifest says"),
        ({"augment_header": augment_header(type_info(type="other"))}, "different payload types"),
        (
            {"augment_header": augment_header(type_info(type="b"), info_bytes=info(payloads=[{"type": "b"}]))},
            "for another payload type",
        ),
        ({"augment_header": augment_header(type_info(clears_artifact_provides=["*"]))}, "which it must not"),
    ],
)
def test_an_augmented_part_changes_nothing_that_is_proven(parts: dict[str, Any], expected: str) -> None:
    """An augmented part may only add; contradictions and duplicates are refused."""
    assert expected in str(augmented(**parts))


def test_a_header_augment_may_not_say_again_what_the_header_says() -> None:
    """A header-augment may not repeat a key of the header."""
    plain = Forge(type_info=type_info(artifact_provides={"c": "4"}))
    message = augmented(
        type_info=plain.type_info,
        manifest="".join(f"{line}\n" for line in plain.lines()).encode(),
        augment_header=augment_header(type_info(artifact_provides={"c": "5"})),
    )
    assert "contains 'c', which the header contains already" in str(message)


def test_a_manifest_augment_may_come_without_a_header() -> None:
    """An Artifact may have augmented files without an augmented header."""
    header = augmented(lines=[f"{DIGEST}  data/0000/more"], augment_header=None)
    assert isinstance(header, Header)
