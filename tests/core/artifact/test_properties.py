"""Properties that hold for every Artifact, checked with generated ones."""

from __future__ import annotations

import io
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.artifact.forge import DATA, Trickle, outcome
from mender_client.core.artifact import (
    ArtifactReader,
    ArtifactSpec,
    Compression,
    Header,
    PayloadSource,
    write_artifact,
)

lines = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=60)
keys = lines.filter(lambda text: "=" not in text)
names = lines.filter(lambda text: "/" not in text and text not in {".", ".."} and len(text.encode()) < 200)
numbers = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | lines,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(lines, inner, max_size=3),
    max_leaves=10,
)
specs = st.builds(
    ArtifactSpec,
    artifact_name=lines,
    device_types=st.lists(lines, min_size=1, max_size=3),
    payload_type=lines,
    artifact_group=st.none() | lines,
    depends_names=st.lists(lines, max_size=2),
    depends_groups=st.lists(lines, max_size=2),
    provides=st.none() | st.dictionaries(keys, lines | st.just(""), max_size=3),
    depends=st.dictionaries(keys, st.lists(lines, min_size=1, max_size=3), max_size=2),
    clears=st.none() | st.lists(lines, max_size=3),
    meta_data=st.none() | st.dictionaries(lines, json_values, max_size=3),
    scripts=st.dictionaries(names, st.binary(max_size=600), max_size=2),
    compression=st.sampled_from(Compression),
    checksum_key=st.none(),
)
contents = st.dictionaries(names, st.binary(max_size=3000), max_size=3)


def source(name: str, content: bytes) -> PayloadSource:
    """Make a payload file of bytes."""
    return PayloadSource(name, len(content), lambda: io.BytesIO(content))


def look_alike(given_names: list[str]) -> bool:
    """Say whether some of the names would be refused for their similarity."""
    import unicodedata

    folded = {unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()) for name in given_names}
    return len(folded) < len(given_names)


@given(spec=specs, files=contents, piece=st.integers(1, 5000))
def test_what_is_written_is_what_is_read(spec: ArtifactSpec, files: dict[str, bytes], piece: int) -> None:
    """Every field and every byte is read as written, whatever the size of the pieces."""
    if look_alike(list(files)) or look_alike(list(spec.scripts)):
        return
    out = io.BytesIO()
    write_artifact(out, spec, [source(name, content) for name, content in files.items()])
    reader = ArtifactReader(Trickle(out.getvalue(), piece))
    read = {}
    for file in reader.payload_files():
        content = bytearray()
        chunk = memoryview(bytearray(1000))
        while count := file.readinto(chunk):
            content += chunk[:count]
        read[file.name] = bytes(content)
    assert files == read
    assert_says(spec, reader.finish())


def assert_says(spec: ArtifactSpec, header: Header) -> None:
    """Check that the header agrees with the specification."""
    payload = header.payload
    assert (spec.artifact_name, spec.artifact_group) == (header.artifact_name, header.artifact_group)
    assert tuple(spec.device_types) == header.device_types
    assert (tuple(spec.depends_names), tuple(spec.depends_groups)) == (header.depends_names, header.depends_groups)
    assert spec.provides == payload.provides
    assert {key: tuple(values) for key, values in spec.depends.items()} == payload.depends
    assert (None if spec.clears is None else tuple(spec.clears)) == payload.clears
    assert spec.meta_data == payload.meta_data
    assert dict(spec.scripts) == {script.name: script.content for script in header.scripts}
    assert spec.compression is header.compression


SMALL = (DATA / "module-files-scripts-meta.mender").read_bytes()


@given(at=st.integers(0, len(SMALL) - 1), changed=st.binary(min_size=1, max_size=40))
def test_no_byte_of_an_artifact_can_be_changed_to_another_content(at: int, changed: bytes) -> None:
    """An Artifact with overwritten bytes is refused or has the same content; modes and times don't count as content."""
    content = SMALL[:at] + changed + SMALL[at + len(changed) :]
    result = outcome(content)
    assert isinstance(result, str) or result == outcome(SMALL)
