"""Parses ``pkcs11:`` URIs (RFC 7512) and removes the PIN, since the rest appears on command lines and in messages."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from mender_client.dataclass import dataclass, field

SCHEME = "pkcs11:"


@dataclass(frozen=True)
class TokenUri:
    """The URI of a key in a token.

    Attributes:
        address: the URI without PIN and PIN source; not a secret.
        pin: the PIN in it (``pin-value``), None for none; a secret.
        pin_file: the file that holds the PIN (``pin-source``), empty for none.
    """

    address: str
    pin: bytes | None = field(default=None, repr=False)
    pin_file: str = ""


def parse_token_uri(text: str) -> TokenUri:
    """Parse a ``pkcs11:`` URI.

    Raises:
        ValueError: it names no key, or its PIN source is invalid; the message never contains a PIN.
    """
    if not text.startswith(SCHEME):
        raise ValueError("it must start with pkcs11:")
    path, _, query = text[len(SCHEME) :].partition("?")
    attributes, from_path = _divide(path.split(";"))
    options, from_query = _divide(query.split("&"))
    secrets = {**from_path, **from_query}
    if not attributes:
        raise ValueError("it names no key")
    address = SCHEME + ";".join(attributes) + ("?" + "&".join(options) if options else "")
    pin, source = secrets.get("pin-value"), secrets.get("pin-source")
    is_pin_shown = "pin-value" in address.lower() or "pin-value=" in (source or "").lower()
    if is_pin_shown or "pin-source" in address.lower():
        raise ValueError("its PIN attribute must follow a single ? at the end")
    return TokenUri(
        address,
        None if pin is None else unquote_to_bytes(pin),
        "" if source is None else _file(unquote_to_bytes(source).decode("utf-8", "replace")),
    )


def _divide(attributes: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Separate the public attributes from those with the PIN, which openssl accepts in both parts of a URI."""
    shown, secret = [], {}
    for attribute in attributes:
        name, _, value = attribute.partition("=")
        if name.strip().lower().startswith("pin"):
            secret[name.strip().lower()] = value
        elif attribute:
            shown.append(attribute)
    return shown, secret


def _file(source: str) -> str:
    path = source.removeprefix("file://").removeprefix("file:")
    if not path.startswith("/"):
        raise ValueError("its pin-source is not the absolute path of a file")
    return path
