"""Which names a file in an Artifact may have, so that writing it can never leave a directory or hit another file."""

from __future__ import annotations

from .refusal import malformed, over_limit, shown

_LONGEST_FILE_NAME_BYTES = 255
"""What Linux file systems take."""


def check_file_name(name: str, where: str) -> None:
    """Refuse a name that is not simply a file in a directory.

    Args:
        name: the name, without the directory that the format puts in front of it.
        where: what it was found in, for the message.

    Raises:
        ArtifactError: a path part, ``.`` or ``..``, an empty or too long name, or a control character (protocol:
            Artifact format, names to be refused).
    """
    if name in {"", ".", ".."} or "/" in name:
        raise malformed(f"{where} holds {shown(name)}, which isn't the plain name of a file")
    if not is_one_line(name):
        raise malformed(f"{where} holds {shown(name)}, a name with a control character or a broken one")
    if len(name.encode()) > _LONGEST_FILE_NAME_BYTES:
        raise over_limit(f"{where} holds {shown(name)}, a name of more than {_LONGEST_FILE_NAME_BYTES} bytes")


def is_one_line(text: str) -> bool:
    """Say whether a text is free of what would break a line, a log or a terminal, and can be stored as UTF-8."""
    return not any(char < " " or "\x7f" <= char <= "\x9f" or "\ud800" <= char <= "\udfff" for char in text)


def folded(name: str) -> str:
    """Bring names together that some file system or some eye takes for the same.

    Case and Unicode form are folded: two such files would overwrite each other on a FAT data partition, and a
    person who reviews a manifest couldn't tell them apart.
    """
    if name.isascii():
        return name.lower()
    # Imported late: the tables cost memory, and hardly any Artifact has such a name.
    import unicodedata

    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


class NameSet:
    """Names seen so far; a second one that is the same, or looks the same, is refused.

    Args:
        where: what the names are found in, for the message.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._seen: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, name: str) -> None:
        """Take a further name.

        Raises:
            ArtifactError: it was there before, or one that differs only in case or Unicode form.
        """
        key = folded(name)
        other = self._seen.get(key)
        if other == name:
            raise malformed(f"{self._where} holds {shown(name)} twice")
        if other is not None:
            raise malformed(f"{self._where} holds {shown(name)} and {shown(other)}, which look the same")
        self._seen[key] = name
