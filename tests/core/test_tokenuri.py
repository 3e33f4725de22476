"""``pkcs11:`` URIs: the PIN is extracted, and the rest may be shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mender_client.core.tokenuri import TokenUri, parse_token_uri

CASES = {
    "pkcs11:token=a;object=b": TokenUri("pkcs11:token=a;object=b"),
    "pkcs11:object=b?pin-value=1234": TokenUri("pkcs11:object=b", b"1234"),
    "pkcs11:object=b;pin-value=1%3B4": TokenUri("pkcs11:object=b", b"1;4"),
    "pkcs11:object=b?PIN-Value=1&module-name=m": TokenUri("pkcs11:object=b?module-name=m", b"1"),
    "pkcs11:object=b?pin-source=file:/a%20b": TokenUri("pkcs11:object=b", None, "/a b"),
    "pkcs11:object=b?pin-source=file:///run/pin": TokenUri("pkcs11:object=b", None, "/run/pin"),
    "pkcs11:object=b?pin-source=/run/pin": TokenUri("pkcs11:object=b", None, "/run/pin"),
    "pkcs11:object=b?pin-source=/run/pin-value": TokenUri("pkcs11:object=b", None, "/run/pin-value"),
}


@pytest.mark.parametrize("text", CASES)
def test_addresses(text: str) -> None:
    """The PIN attributes are removed from the URI, in whichever part of it they are."""
    assert CASES[text] == parse_token_uri(text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("file:/x", "it must start with pkcs11:"),
        ("pkcs11:", "it names no key"),
        ("pkcs11:?pin-value=1234", "it names no key"),
        ("pkcs11:object=b?pin-source=|command", "its pin-source is not the absolute path of a file"),
        ("pkcs11:object=b?pin-source=pin", "its pin-source is not the absolute path"),
        ("pkcs11:object=b?pin-source=/run/pin;PIN-value=1234", "its PIN attribute must follow a single "),
    ],
)
def test_faults(text: str, fault: str) -> None:
    """An unusable URI is reported without its PIN, and the client never runs a command to get a PIN."""
    with pytest.raises(ValueError, match="^" + fault.replace("|", r"\|")) as caught:
        parse_token_uri(text)
    assert "1234" not in str(caught.value)


@given(st.text(alphabet="pin-valuesorc=;?&%0A/:|x", max_size=40))
def test_a_pin_is_never_shown(rest: str) -> None:
    """However a URI is malformed, a PIN in it is never shown."""
    for mark in "?;&":
        try:
            uri = parse_token_uri(f"pkcs11:object=b;{rest}?{rest}{mark}pin-value=7731")
        except ValueError:
            continue
        assert "7731" not in uri.address
        assert "7731" not in repr(uri)
