"""A file that holds one secret on its first line: a passphrase or a PIN."""

from __future__ import annotations

from pathlib import Path

from mender_client.errors import KeyFileError

LONGEST_BYTES = 1000
"""The openssl program accepts no more."""


def read_secret(file: Path, noun: str) -> bytes:
    """Read a secret from the first line of a file; the noun names it in messages.

    Raises:
        KeyFileError: the file can't be read, or holds no usable secret.
    """
    try:
        with file.open("rb") as stream:
            line = stream.readline(LONGEST_BYTES + 2)
    except OSError as error:
        text = f"cannot read the {noun} file {file}: {error.strerror}"
        raise KeyFileError("KEY11", text, remedy="check its path, owner and mode") from error
    return check_secret(line, noun, str(file))


def check_secret(line: bytes, noun: str, source: str) -> bytes:
    """Take the secret from a line with its line end; the noun and the source name it in messages.

    Raises:
        KeyFileError: it is empty, too long or holds a NUL byte; the message never contains it.
    """
    secret = line.rstrip(b"\r\n")
    if not secret:
        text = f"cannot use the {noun}: the first line of {source} is empty"
        raise KeyFileError("KEY12", text, remedy=f"write the {noun} there")
    if len(secret) > LONGEST_BYTES or b"\0" in secret:
        text = f"cannot use the {noun}: {source} contains more than {LONGEST_BYTES} bytes, or a NUL byte"
        raise KeyFileError("KEY13", text, remedy="choose a shorter one without NUL bytes")
    return secret
