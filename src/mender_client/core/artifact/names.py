"""Checks the names of the files in an Artifact, so that none escapes its directory or overwrites another one."""

from __future__ import annotations

from .refusal import malformed, over_limit, shown

_LONGEST_FILE_NAME_BYTES = 255
"""The limit of Linux file systems."""


def check_file_name(name: str, where: str) -> None:
    """Refuse a name that is not a plain file name.

    Args:
        name: the name, without the directory that the format puts in front of it.
        where: where it was found, for the message.

    Raises:
        ArtifactError: the name is empty, too long, ``.`` or ``..``, or contains a slash, a control character or a lone
            surrogate (protocol: Artifact format, names to be refused).
    """
    if name in {"", ".", ".."} or "/" in name:
        raise malformed(f"{where} contains {shown(name)}, which isn't the plain name of a file")
    if not is_one_line(name):
        raise malformed(f"{where} contains {shown(name)}, a name with a control character or a broken one")
    if len(name.encode()) > _LONGEST_FILE_NAME_BYTES:
        raise over_limit(f"{where} contains {shown(name)}, a name of more than {_LONGEST_FILE_NAME_BYTES} bytes")


def is_one_line(text: str) -> bool:
    """Whether a text contains no control character and no lone surrogate, so that it is one line and valid UTF-8."""
    return not any(char < " " or "\x7f" <= char <= "\x9f" or "\ud800" <= char <= "\udfff" for char in text)


def folded(name: str) -> str:
    """Normalise the case and the Unicode form of a name.

    Two files with the same folded name would overwrite each other on a FAT partition, and look the same to a person
    who reviews the manifest.
    """
    if name.isascii():
        return name.lower()
    # imported late: the tables cost memory, and hardly any Artifact has such a name
    import unicodedata

    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


class NameSet:
    """The names seen so far in a part of the Artifact; a further name must not equal or resemble any of them."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._seen: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, name: str) -> None:
        """Add a name.

        Raises:
            ArtifactError: the set already contains it, or a name that differs only in case or Unicode form.
        """
        key = folded(name)
        other = self._seen.get(key)
        if other == name:
            raise malformed(f"{self._where} contains {shown(name)} twice")
        if other is not None:
            raise malformed(f"{self._where} contains {shown(name)} and {shown(other)}, which look the same")
        self._seen[key] = name
