"""``artifact write single-file`` and similar commands: payloads as expected by the update modules with these names.

They are compatible with Mender's own modules and generators, except docker-compose. The parameters of a payload are in
files of one line each, which a module written in shell can read.
"""

from __future__ import annotations

import os
import re
import stat
import tarfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from mender_client.app.exitcodes import ExitCode
from mender_client.commandline import Options
from mender_client.errors import ArtifactError
from mender_client.system.files import storage_errors

from .files import regular_size
from .make import write_module

_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]*")
_MANIFESTS = ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")


def write_single_file(options: Options) -> ExitCode:
    """Write an Artifact that replaces one file, with the mode of the local file. Raises as ``write_module``."""
    (file,) = options.file
    regular_size(file)
    words = {
        "dest_dir": _absolute(options.dest_dir),
        "filename": os.path.basename(file),
        "permissions": f"{stat.S_IMODE(os.stat(file).st_mode):o}",
    }
    return _write(options, "single-file", words, [file])


def write_directory(options: Options) -> ExitCode:
    """Write an Artifact that replaces a directory. Raises as ``write_module``."""
    words = {"dest_dir": _absolute(options.dest_dir)}
    return _write(options, "directory", words, (), tree=("update.tar", options.directory))


def write_script(options: Options) -> ExitCode:
    """Write an Artifact whose files are run. Raises as ``write_module``."""
    return _write(options, "script", {}, options.file)


def write_deb(options: Options) -> ExitCode:
    """Write an Artifact of Debian packages. Raises as ``write_module``."""
    for file in options.file:
        if not file.endswith(".deb"):
            text = f"cannot write {file} as a Debian package: its name doesn't end in .deb"
            raise ArtifactError("ART54", text, remedy="specify .deb files, or choose another kind of payload")
    return _write(options, "deb", {}, options.file)


def write_docker_compose(options: Options) -> ExitCode:
    """Write an Artifact of a Docker Compose project. Raises as ``write_module``."""
    project = options.project_name
    if _PROJECT.fullmatch(project) is None:
        text = f"cannot use the project name {project!r}: Docker Compose allows lower-case letters, digits, - and _"
        raise ArtifactError("ART55", text, remedy="choose another")
    if not any(Path(options.directory, name).is_file() for name in _MANIFESTS):
        text = f"cannot find {_MANIFESTS[0]} in {options.directory}: Docker Compose would have nothing to start"
        raise ArtifactError("ART56", text, remedy="specify the directory that it is in")
    named = {"images.tar": options.images} if options.images else {}
    words = {"project_name": project}
    return _write(options, "docker-compose", words, (), tree=("manifests.tar", options.directory), named=named)


def _absolute(directory: str) -> str:
    if not directory.startswith("/"):
        text = f"cannot install into {directory!r}: it isn't the path of a directory on the device"
        raise ArtifactError("ART53", text, remedy="use a path that begins with /")
    return directory


def _write(
    options: Options,
    payload_type: str,
    words: dict[str, str],
    files: Sequence[str],
    *,
    tree: tuple[str, str] | None = None,
    named: dict[str, str] | None = None,
) -> ExitCode:
    """Write an Artifact.

    Args:
        words: the content of files of one line, by name.
        files: files that keep their names.
        tree: the name of an archive, and the directory whose content is packed into it.
        named: the paths of files, by the names that they get in the payload.
    """
    with TemporaryDirectory() as place:
        made = [Path(place, name) for name in words]
        for file, word in zip(made, words.values(), strict=True):
            file.write_text(f"{word}\n", encoding="utf-8")
        if tree is not None:
            made.append(Path(place, tree[0]))
            _pack(Path(tree[1]), made[-1])
        for name, path in (named or {}).items():
            regular_size(path)
            made.append(Path(place, name))
            made[-1].symlink_to(os.path.abspath(path))
        payload = [*map(str, made), *files]
        return write_module(
            Options(**{**vars(options), "payload_type": payload_type, "meta_data": None, "file": payload})
        )


def _pack(directory: Path, into: Path) -> None:
    """Pack a directory's content as ``tar -C DIRECTORY -c .`` does, sorted by name, and owned by root."""

    def as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        member.mtime = int(member.mtime)
        return member

    with storage_errors("read", directory):
        if not stat.S_ISDIR(directory.stat().st_mode):
            text = f"cannot pack {directory}: it isn't a directory"
            raise ArtifactError("ART57", text, remedy="specify the directory whose content is to be installed")
        with tarfile.open(into, "w", format=tarfile.GNU_FORMAT) as archive:
            archive.add(directory, ".", filter=as_root)
