"""What an Artifact requires of the device."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mender_client.core.artifact import Compression, Header, Payload, check_depends
from mender_client.errors import ArtifactError

PAYLOAD = Payload(type="app", provides=None, depends={}, clears=None, meta_data=None)
HEADER = Header(
    artifact_name="new",
    artifact_group=None,
    device_types=("board", "box"),
    depends_names=(),
    depends_groups=(),
    compression=Compression.NONE,
    signed=False,
    augmented=False,
    scripts=(),
    payload=PAYLOAD,
)
DEVICE = {"artifact_group": "group", "app.version": "1"}


def depending(**generic: tuple[str, ...]) -> Header:
    """Make a header with generic depends."""
    return replace(HEADER, payload=replace(PAYLOAD, depends=generic))


@pytest.mark.parametrize(
    "header",
    [
        HEADER,
        replace(HEADER, depends_names=("other", "old")),
        replace(HEADER, depends_groups=("group",)),
        replace(HEADER, payload=replace(PAYLOAD, depends={"app.version": ("0", "1")})),
        depending(device_type=("board",), artifact_name=("old",)),
    ],
)
def test_what_is_met_passes(header: Header) -> None:
    """A depends is met by any one of its values."""
    check_depends(header, device_type="board", artifact_name="old", provides=DEVICE)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (replace(HEADER, device_types=("x",)), "requires 'device_type' to be 'x', and the device has 'board'"),
        (replace(HEADER, depends_names=("a", "b")), "'artifact_name' to be 'a' or 'b', and the device has 'old'"),
        (replace(HEADER, depends_groups=("a",)), "'artifact_group' to be 'a', and the device has 'group'"),
        (depending(missing=("a",)), "'missing' to be 'a', and the device has none"),
        (replace(HEADER, device_types=tuple("abcdefghij")), "or 'h' or one of 2 more, and the device has 'board'"),
        (depending(artifact_group=()), "'artifact_group' to be something impossible"),
    ],
)
def test_what_isn_t_met_is_named_with_what_the_device_has(header: Header, expected: str) -> None:
    """The message says what is required and what the device provides."""
    with pytest.raises(ArtifactError) as caught:
        check_depends(header, device_type="board", artifact_name="old", provides=DEVICE)
    assert expected in str(caught.value)


def test_all_that_isn_t_met_is_said_at_once() -> None:
    """All unmet depends are reported together, so that nobody has to deploy once per fault."""
    header = replace(depending(a=("1",)), device_types=("x",), depends_names=("y",))
    with pytest.raises(ArtifactError) as caught:
        check_depends(header, device_type="board", artifact_name="old", provides={})
    assert 3 == str(caught.value).count("it requires")
