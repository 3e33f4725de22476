"""The values that the components exchange."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mender_client.core.keyvalue import KeyValues, group_by_key, parse_key_values
from mender_client.core.model import Identity, IdentityFormat, Link, Provides, Software, Status, Token
from mender_client.errors import ScriptError

PLAIN, LIST = IdentityFormat.PLAIN, IdentityFormat.LIST

IDENTITIES: list[tuple[str, IdentityFormat, str]] = [
    ("mac=02:00\n", PLAIN, '{"mac":"02:00"}'),
    ("mac=02:00\n", LIST, '{"mac":["02:00"]}'),
    ("sn=1\nmac=x\n", PLAIN, '{"mac":"x","sn":"1"}'),
    ("mac=x\nmac=y\n", PLAIN, '{"mac":["x","y"]}'),
    ("mac=x\nsn=1\nmac=y\n", LIST, '{"mac":["x","y"],"sn":["1"]}'),
    ("name=Gr\u00fcn\n", PLAIN, '{"name":"Gr\\u00fcn"}'),
]


@pytest.mark.parametrize(("printed", "form", "id_data"), IDENTITIES)
def test_identity(printed: str, form: IdentityFormat, id_data: str) -> None:
    """A single value is a string in the plain format and a list in the other one; a repeated key is a list in both."""
    assert id_data == Identity.from_key_values(parse_key_values(printed), form=form).id_data


def test_plain_is_the_default() -> None:
    """By default an identity is formatted as the Go and C++ clients format it."""
    assert '{"a":"1"}' == Identity.from_key_values(parse_key_values("a=1")).id_data


@pytest.mark.parametrize("printed", ["", "\n\n", "  \n"])
def test_no_identity_is_refused(printed: str) -> None:
    """An empty identity is refused, since the server would accept {} as a device."""
    with pytest.raises(ScriptError, match="cannot use the identity: the identity script printed nothing; make it"):
        Identity.from_key_values(parse_key_values(printed))


def test_malformed_identity_is_refused() -> None:
    """One malformed line invalidates the whole identity: a guess would make it another device."""
    with pytest.raises(ScriptError, match="cannot use the identity: line 'oops' is not key=value; correct"):
        Identity.from_key_values(parse_key_values("mac=x\noops\n"))


def test_malformed_identity_is_shown_in_part() -> None:
    """Neither long output nor control characters of an identity script get into the log."""
    with pytest.raises(ScriptError) as caught:
        Identity.from_key_values(KeyValues((), ("\x1b[2J" + "x" * 10000,)))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), min_size=1), st.sampled_from(IdentityFormat))
def test_identity_is_canonical(pairs: list[tuple[str, str]], form: IdentityFormat) -> None:
    """An identity is compact ASCII JSON with sorted keys and all values, so that equal identities are equal text."""
    id_data = Identity.from_key_values(KeyValues(tuple(pairs), ()), form=form).id_data
    document = json.loads(id_data)
    assert id_data.isascii()
    assert id_data == json.dumps(document, sort_keys=True, separators=(",", ":"))
    values = {key: (value,) if isinstance(value, str) else tuple(value) for key, value in document.items()}
    assert group_by_key(pairs) == values


def test_final_statuses() -> None:
    """Success and failure are final; nothing is sent for a deployment after them."""
    assert {Status.SUCCESS, Status.FAILURE} == {status for status in Status if status.is_final}


def test_secrets_hide() -> None:
    """The repr of a token or a pre-signed link hides it, so that it can't end up in a log by accident."""
    assert "secret" not in repr(Token("secret", "https://server"))
    assert "secret" not in repr(Link("https://store/?signature=secret"))


def test_software_after_another_artifact() -> None:
    """An Artifact clears the earlier provides and those of artifact_info that match its globs, and adds its own."""
    first = Software("a", {"data.version": "1", "rootfs-image.version": "1"})
    second = first.followed_by("b", {"rootfs-image.version": "2"}, ["rootfs-image.*", "group"])
    assert Software("b", {"data.version": "1", "rootfs-image.version": "2"}, ("rootfs-image.*", "group")) == second
    seen = Provides("board", "b", {"rootfs-image.checksum": "old", "group": "x", "groups": "y"})
    assert {"groups": "y", "data.version": "1", "rootfs-image.version": "2"} == second.completing(seen).others
    assert Provides("board", "a", {"group": "x"}) == second.completing(Provides("board", "a", {"group": "x"}))
