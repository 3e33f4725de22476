"""Private key files as bytes; for what the back ends do with them see tests/system/test_keys.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mender_client.core.devicekey import fingerprint, key_type, parse_private_key

KEY = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"


def test_the_block_alone_is_taken() -> None:
    """Text around the key and Windows line endings aren't passed to a back end."""
    found = parse_private_key(b"Bag Attributes\r\n" + KEY.replace(b"\n", b"\r\n") + b"more")
    assert (KEY, False) == (found.pem, found.is_encrypted)


@pytest.mark.parametrize(
    "text",
    [
        KEY.replace(b"PRIVATE", b"ENCRYPTED PRIVATE"),
        KEY.replace(b"PRIVATE", b"RSA PRIVATE").replace(b"AAAA", b"Proc-Type: 4,ENCRYPTED\nDEK-Info: x\n\nAAAA"),
    ],
    ids=["PKCS#8", "PKCS#1"],
)
def test_encrypted(text: bytes) -> None:
    """Both kinds of encrypted PEM file are recognised, and the block is left unchanged."""
    found = parse_private_key(text)
    assert (text, True) == (found.pem, found.is_encrypted)


def test_a_key_hides_itself() -> None:
    """The repr of a key shows nothing of it."""
    assert "AAAA" not in repr(parse_private_key(KEY))


@given(st.lists(st.sampled_from([*KEY.splitlines(keepends=True), b"\0", b"-----BEGIN X-----", b"\n", b"\xff"])))
def test_any_file(pieces: list[bytes]) -> None:
    """Any file content gives either a key or a reason."""
    try:
        found = parse_private_key(b"".join(pieces))
    except ValueError:
        return
    assert found.pem.startswith(b"-----BEGIN PRIVATE KEY-----")


@pytest.mark.parametrize("text", ["", "garbage", "-----BEGIN PUBLIC KEY-----\n\u00e4\n-----END PUBLIC KEY-----\n"])
def test_public_keys_that_are_none(text: str) -> None:
    """An invalid public key has no type, but still has a fingerprint."""
    assert None is key_type(text)
    assert 64 == len(fingerprint(text))
