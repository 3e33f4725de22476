"""Tar archives, read strictly and as a stream.

The standard library's reader is lenient: it accepts links, sparse maps, GNU long names, numbers in base 256, and junk
between members. Each of these can make two readers see two different Artifacts, only one of which matches the manifest.
So this reader accepts regular files with ustar or GNU headers and the few PAX records that the reference tool writes,
and refuses everything else. A PAX record may replace a name or size only if the header itself can't hold it, because
some readers, such as BusyBox, ignore PAX records.
"""

from __future__ import annotations

import re

from mender_client.dataclass import dataclass

from .limits import Limits
from .refusal import damaged, malformed, over_limit, shown
from .stream import Readable, read_exactly, read_up_to, truncated

BLOCK = 512
_ZEROS = bytes(4096)
_LARGEST_PAX_BYTES = 4096
_PAX_KEYS = frozenset({"path", "size", "mtime", "atime", "ctime", "uid", "gid", "uname", "gname"})
_PAX_SIZE = re.compile(r"[0-9]{1,18}")
_USTAR_NAME_BYTES = 100
_USTAR_MOST_BYTES = 8**11 - 1
_SPECIAL_MODES = 0o7000
_OCTAL = re.compile(rb" *([0-7]*)[ \0]*")
_USTAR = b"ustar\x0000"
_GNU = b"ustar  \x00"


@dataclass(frozen=True)
class Member:
    """A regular file in a tar.

    Args:
        name: its name, as stored.
        size: its length in bytes.
    """

    name: str
    size: int


class TarReader:
    """Reads the members of a tar in order; a readable of the current member's bytes.

    Args:
        source: the bytes of the tar.
        title: what to call the tar in messages.
        limits: the limits, of which only ``padding_bytes`` is used here.
    """

    def __init__(self, source: Readable, title: str, limits: Limits) -> None:
        self._source = source
        self._title = title
        self._limits = limits
        self._left = 0
        self._padding = 0

    def next_member(self) -> Member | None:
        """Skip the rest of the current member and advance to the next one.

        Returns:
            The member, or None at the end of the tar, which must also be the end of its source.

        Raises:
            ArtifactError: the tar is broken or truncated, or contains something other than a regular file.
        """
        self.finish_member()
        block = self._read_block()
        if not any(block):
            self._read_end()
            return None
        header = _parse_block(block, self._title)
        if header.kind == b"x":
            header = self._apply_pax(header.size)
        self._left = header.size
        self._padding = -header.size % BLOCK
        return Member(header.name, header.size)

    def readinto(self, buffer: memoryview, /) -> int:
        """Read bytes of the current member; 0 at its end.

        Raises:
            ArtifactError: the source ends before the member does.
        """
        wanted = min(len(buffer), self._left)
        if wanted == 0:
            return 0
        count = self._source.readinto(buffer[:wanted])
        if count == 0:
            raise truncated(self._title)
        self._left -= count
        return count

    def read_member(self, member: Member, most_bytes: int) -> bytes:
        """Read the whole current member; raises ArtifactError if it is truncated or larger than ``most_bytes``."""
        if member.size > most_bytes:
            raise over_limit(f"{shown(member.name)} has {member.size} bytes, more than the limit of {most_bytes}")
        return read_exactly(self, member.size, self._title)

    def skip_member(self) -> None:
        """Skip the rest of the current member without reading it: the source is already at its end."""
        self._left = 0

    def finish_member(self) -> None:
        """Read to the end of the current member's last block.

        Raises:
            ArtifactError: it is truncated, or the padding, which no digest covers, isn't all zeros.
        """
        if self._left:
            scratch = memoryview(bytearray(len(_ZEROS)))
            while self.readinto(scratch):
                pass
        if self._padding and any(read_exactly(self._source, self._padding, self._title)):
            raise malformed(f"{self._title} contains bytes in the padding between its members")
        self._padding = 0

    def _read_block(self) -> bytes:
        return read_exactly(self._source, BLOCK, self._title)

    def _read_end(self) -> None:
        """Read to the end of the source: a tar ends with two or more blocks of zeros, and nothing may follow."""
        if any(self._read_block()):
            raise malformed(f"{self._title} contains bytes after its end")
        scratch = memoryview(bytearray(len(_ZEROS)))
        total = 0
        while count := read_up_to(self._source, scratch):
            total += count
            if scratch[:count] != _ZEROS[:count]:
                raise malformed(f"{self._title} contains bytes after its end")
            if total > self._limits.padding_bytes:
                raise over_limit(f"{self._title} is padded with more than {self._limits.padding_bytes} zeros")

    def _apply_pax(self, size: int) -> _Header:
        """Read the records of an extended header, and the header that they apply to."""
        if size > _LARGEST_PAX_BYTES:
            raise over_limit(f"{self._title} has an extended header of {size} bytes, over {_LARGEST_PAX_BYTES}")
        records = _parse_pax(read_exactly(self._source, size, self._title), self._title)
        if any(read_exactly(self._source, -size % BLOCK, self._title)):
            raise malformed(f"{self._title} contains bytes in the padding of an extended header")
        header = _parse_block(self._read_block(), self._title)
        if header.kind == b"x":
            raise malformed(f"{self._title} has two extended headers in a row")
        name, size = records.get("path", header.name), int(records.get("size", header.size))
        if name != header.name and header.name not in _names_without_pax(name):
            raise malformed(
                f"{self._title} has a member that is {shown(name)} to some readers, {shown(header.name)} to others"
            )
        if size != header.size and not (header.size == 0 and size > _USTAR_MOST_BYTES):
            raise malformed(
                f"{self._title} has {shown(name)} with {size} bytes to some readers, with {header.size} to others"
            )
        return _Header(header.kind, name, size)


@dataclass(frozen=True)
class _Header:
    kind: bytes
    name: str
    size: int


def _parse_block(block: bytes, title: str) -> _Header:
    magic = block[257:265]
    if magic not in (_USTAR, _GNU):
        raise malformed(f"{title} isn't a valid tar: a member has no tar header")
    if sum(block) - sum(block[148:156]) + 8 * ord(" ") != _octal(block[148:156], title):
        raise damaged(f"{title} has a tar header with a wrong checksum")
    _check_kind(block, magic, title)
    for start, end in ((108, 116), (116, 124), (136, 148)):
        _octal(block[start:end], title, may_be_blank=True)
    if _octal(block[100:108], title, may_be_blank=True) & _SPECIAL_MODES:
        raise malformed(f"{title} has a member with the setuid, setgid or sticky bit")
    if any(_octal(block[start : start + 8], title, may_be_blank=True) for start in (329, 337)):
        raise malformed(f"{title} has a member with a device number")
    name = _text(block[:100], title)
    prefix = _text(block[345:500], title) if magic == _USTAR else ""
    return _Header(block[156:157], f"{prefix}/{name}" if prefix else name, _octal(block[124:136], title))


def _check_kind(block: bytes, magic: bytes, title: str) -> None:
    """Refuse all but regular files and extended headers whose unused fields are empty.

    GNU keeps sparse maps where ustar keeps the prefix.
    """
    kind = block[156:157]
    if kind not in (b"0", b"\0", b"x"):
        raise malformed(
            f"{title} contains something other than a regular file: tar type {shown(kind.decode('latin-1'))}"
        )
    spare_from = 345 if magic == _GNU else 500
    if any(block[157:257]) or any(block[spare_from:]):
        raise malformed(f"{title} has a tar header with a link name, a sparse map or other extras")


def _names_without_pax(name: str) -> tuple[str, ...]:
    """What common writers (Go, Python, GNU tar) put into the header in place of a long or non-ASCII name."""
    if name.isascii():
        return (name[:_USTAR_NAME_BYTES],) if len(name) > _USTAR_NAME_BYTES else ()
    dropped = name.encode("ascii", "ignore").decode()
    replaced = name.encode("ascii", "replace").decode()
    return dropped[:_USTAR_NAME_BYTES], replaced[:_USTAR_NAME_BYTES]


def _octal(field: bytes, title: str, *, may_be_blank: bool = False) -> int:
    """Read an octal number; base 256 (first bit set) and signs are refused."""
    match = _OCTAL.fullmatch(field)
    if match is None or not (match[1] or may_be_blank):
        raise malformed(f"{title} has a tar header with a number that isn't octal")
    return int(match[1] or b"0", 8)


def _text(field: bytes, title: str) -> str:
    text, _, rest = field.partition(b"\0")
    if any(rest):
        raise malformed(f"{title} has a member with a NUL in its name")
    return _decoded(text, title)


def _decoded(text: bytes, title: str) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise malformed(f"{title} has a name that isn't UTF-8") from error


def _parse_pax(content: bytes, title: str) -> dict[str, str]:
    """Parse ``length key=value`` records (POSIX.1-2001 pax); only harmless keys, and those for name and size."""
    records: dict[str, str] = {}
    while content:
        digits, _, _ = content[:6].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        record, content = content[:length], content[length:]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if not record.endswith(b"\n") or len(record) < length or not equals or b"\0" in record:
            raise malformed(f"{title} has a broken extended header")
        name = _decoded(key, title)
        if name not in _PAX_KEYS or name in records:
            raise malformed(f"{title} has an extended header with {shown(name)}, which has no place here")
        records[name] = _decoded(value, title)
    if not _PAX_SIZE.fullmatch(records.get("size", "0")):
        raise malformed(f"{title} has an extended header with a size that isn't a number")
    return records


def build_member_header(member: Member, mode: int) -> bytes:
    """Build the header of a member, without time and owner, so that the same input gives the same bytes.

    Args:
        member: its name and size. A name that is long or not ASCII, or a size of 8 GiB or more, gets a PAX header.
        mode: permission bits.
    """
    # imported late: only writers need it
    import tarfile

    info = tarfile.TarInfo(member.name)
    info.size = member.size
    info.mode = mode
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def build_padding(size: int) -> bytes:
    """The zeros that fill a member's last block."""
    return bytes(-size % BLOCK)


END = bytes(2 * BLOCK)
"""The end of a tar."""
