"""The commands of ``artifact``. Options that also exist in mender-artifact have the same names."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

from mender_client.app.exitcodes import ExitCode
from mender_client.commandline import Argument, Command, Options

_FILE = "the Artifact file; - reads standard input"
_COMPRESSIONS = ("none", "gzip", "xz", "lzma", "zstd")
_SCRIPT = re.compile(
    r"Artifact(Install|Reboot|Commit|Rollback|RollbackReboot|Failure)_(Enter|Leave|Error)_[0-9]{2}(_.+)?"
)


class _Once(argparse.Action):
    """Accepts one value, as a list; otherwise a second one would silently take precedence."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option: object = None
    ) -> None:
        if getattr(namespace, self.dest):
            parser.error(f"argument {option}: give it once")
        setattr(namespace, self.dest, [values])


def _path(text: str) -> str:
    if text in ("", "-"):
        raise ValueError("must be the path of a file")
    return text


def _script(text: str) -> str:
    name = text.rpartition("/")[2]
    if _SCRIPT.fullmatch(name) is None:
        raise ValueError(
            f"{name!r} would never run; a state script is named like ArtifactInstall_Enter_10_what-it-does"
        )
    return text


def _line(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("must be one line of text")
    return text


def _pair(text: str) -> tuple[str, str]:
    key, colon, value = _line(text).partition(":")
    if not colon or not key.strip() or "=" in key or key.strip() != key:
        raise ValueError(f"{text!r} isn't of the form key:value")
    return key, value


def _show(options: Options) -> ExitCode:
    from .look import show

    return show(options.artifact, is_json_wanted=options.json)


def _verify(options: Options) -> ExitCode:
    from .look import verify

    return verify(options.artifact, keys=options.key, device_type=options.device_type)


def _cat(options: Options) -> ExitCode:
    from .look import cat

    return cat(options.artifact, options.file)


def _extract(options: Options) -> ExitCode:
    from .look import extract

    return extract(options.artifact, options.directory)


def _write_rootfs(options: Options) -> ExitCode:
    from .make import write_rootfs

    return write_rootfs(options)


def _write_module(options: Options) -> ExitCode:
    from .make import write_module

    return write_module(options)


def _write_single_file(options: Options) -> ExitCode:
    from .shipped import write_single_file

    return write_single_file(options)


def _write_directory(options: Options) -> ExitCode:
    from .shipped import write_directory

    return write_directory(options)


def _write_script(options: Options) -> ExitCode:
    from .shipped import write_script

    return write_script(options)


def _write_deb(options: Options) -> ExitCode:
    from .shipped import write_deb

    return write_deb(options)


def _write_docker_compose(options: Options) -> ExitCode:
    from .shipped import write_docker_compose

    return write_docker_compose(options)


def _write_bootstrap(options: Options) -> ExitCode:
    from .make import write_bootstrap

    return write_bootstrap(options)


def _sign(options: Options) -> ExitCode:
    from mender_client.app.passphrase import passphrase_of

    from .make import sign

    passphrase = passphrase_of(options.passphrase_file)
    return sign(options.artifact, key=options.key, output=options.output_path, passphrase=passphrase)


def _index(options: Options) -> ExitCode:
    from .make import index

    return index(options)


def _diff(options: Options) -> ExitCode:
    from .diff import diff

    return diff(options.old, options.new, is_json_wanted=options.json)


def _many(*names: str, metavar: str, kind: Callable[[str], object], text: str) -> Argument:
    return Argument(*names, metavar=metavar, type=kind, action="append", default=[], help=text)


_OF_EVERY_ARTIFACT = (
    Argument("-n", "--artifact-name", metavar="NAME", type=_line, required=True, help="the Artifact's name"),
    Argument("-t", "--device-type", metavar="TYPE", type=_line, action="append", required=True, help="may be repeated"),
    Argument("-o", "--output-path", metavar="OUT", type=_path, required=True, help="where to write the Artifact"),
    Argument("--compression", choices=_COMPRESSIONS, default="gzip", help="default: gzip; lzma is xz"),
    Argument("-k", "--key", metavar="FILE", help="private key (PEM) to sign with"),
    Argument(
        "-s", "--script", metavar="FILE", type=_script, nargs="+", action="extend", default=[], help="state scripts"
    ),
    _many("-p", "--provides", metavar="K:V", kind=_pair, text="what the device provides after the update"),
    _many(
        "--depends",
        metavar="K:V",
        kind=_pair,
        text="what the device must provide; repeat a key to allow any of several values",
    ),
    _many("--clears-provides", metavar="GLOB", kind=_line, text="provides that the update clears"),
    _many("-N", "--artifact-name-depends", metavar="NAME", kind=_line, text="one of these must be installed"),
    _many("-G", "--depends-groups", metavar="GROUP", kind=_line, text="the device must be in one of these"),
    Argument("-g", "--provides-group", metavar="GROUP", type=_line, help="the group of the device after the update"),
)

_SOFTWARE_VERSION = (
    Argument(
        "--software-filesystem", metavar="NAME", type=_line, help="first part of the version's key (rootfs-image)"
    ),
    Argument("--software-name", metavar="NAME", type=_line, help="second part of it (update modules: their type)"),
    Argument("--software-version", metavar="TEXT", type=_line, help="the version (default: the Artifact's name)"),
    Argument(
        "--no-default-software-version",
        action="store_true",
        help="neither provide a version nor clear that of an older one",
    ),
    Argument("--no-default-clears-provides", action="store_true", help="don't clear the provides of an older one"),
)

_DEST_DIR = Argument(
    "--dest-dir", metavar="DIR", type=_line, required=True, help="directory on the device that is written to"
)


def _one_file(text: str) -> Argument:
    return Argument("-f", "--file", metavar="FILE", type=_path, action=_Once, required=True, default=[], help=text)


def _files(text: str) -> Argument:
    return Argument(
        "-f", "--file", metavar="FILE", type=_path, nargs="+", action="extend", required=True, default=[], help=text
    )


def _directory(text: str) -> Argument:
    return Argument("-f", "--file", dest="directory", metavar="DIR", type=_path, required=True, help=text)


_WRITE = (
    Command(
        "rootfs-image",
        "create an Artifact from a root file system image",
        _write_rootfs,
        (
            _one_file("the image"),
            *_OF_EVERY_ARTIFACT,
            *_SOFTWARE_VERSION,
            Argument("--no-checksum-provide", action="store_true", help="don't provide the image's checksum"),
            Argument("--no-index", action="store_true", help="no index; devices then always download the whole image"),
        ),
        defaults={"meta_data": None},
    ),
    Command(
        "module-image",
        "create an Artifact for an update module",
        _write_module,
        (
            Argument(
                "-T",
                "--type",
                dest="payload_type",
                metavar="TYPE",
                type=_line,
                required=True,
                help="payload type: the name of the update module",
            ),
            Argument(
                "-f", "--file", metavar="FILE", type=_path, nargs="+", action="extend", default=[], help="payload files"
            ),
            Argument("-m", "--meta-data", metavar="FILE", type=_path, help="a JSON object for the update module"),
            *_OF_EVERY_ARTIFACT,
            *_SOFTWARE_VERSION,
        ),
    ),
    Command(
        "single-file",
        "create an Artifact that installs one file",
        _write_single_file,
        (_one_file("the file; it keeps name and mode"), _DEST_DIR, *_OF_EVERY_ARTIFACT, *_SOFTWARE_VERSION),
    ),
    Command(
        "directory",
        "create an Artifact that replaces a directory",
        _write_directory,
        (_directory("local directory with the new content"), _DEST_DIR, *_OF_EVERY_ARTIFACT, *_SOFTWARE_VERSION),
    ),
    Command(
        "script",
        "create an Artifact whose scripts are run",
        _write_script,
        (_files("scripts, run in the order of their names"), *_OF_EVERY_ARTIFACT, *_SOFTWARE_VERSION),
    ),
    Command(
        "deb",
        "create an Artifact that installs Debian packages",
        _write_deb,
        (_files("packages"), *_OF_EVERY_ARTIFACT, *_SOFTWARE_VERSION),
    ),
    Command(
        "docker-compose",
        "create an Artifact that runs containers",
        _write_docker_compose,
        (
            _directory("local directory with compose.yaml and the files it refers to"),
            Argument("--project-name", metavar="NAME", type=_line, required=True, help="the project"),
            Argument("--images", metavar="FILE", type=_path, help="the images, from docker save (default: pull them)"),
            *_OF_EVERY_ARTIFACT,
            *_SOFTWARE_VERSION,
        ),
    ),
    Command(
        "bootstrap-artifact",
        "create an Artifact without payload",
        _write_bootstrap,
        _OF_EVERY_ARTIFACT,
        defaults={"file": [], "meta_data": None},
    ),
)

COMMANDS = (
    Command(
        "show",
        "verify an Artifact and print its contents",
        _show,
        (
            Argument("artifact", metavar="FILE", help=_FILE),
            Argument("--json", action="store_true", help="print JSON, for programs"),
        ),
    ),
    Command(
        "verify",
        "verify an Artifact and its signature as a device does",
        _verify,
        (
            Argument("artifact", metavar="FILE", help=_FILE),
            Argument(
                "-k",
                "--key",
                metavar="FILE",
                action="append",
                default=[],
                help="public key (PEM); one of several must match",
            ),
            Argument("-t", "--device-type", metavar="TYPE", help="device type that it must be compatible with"),
        ),
    ),
    Command(
        "cat",
        "write one payload file to standard output, verified",
        _cat,
        (
            Argument("artifact", metavar="ARTIFACT", help=_FILE),
            Argument("file", metavar="FILE", nargs="?", help="the payload file; optional when there is only one"),
        ),
    ),
    Command(
        "extract",
        "write all payload files into a directory, verified",
        _extract,
        (
            Argument("artifact", metavar="ARTIFACT", help=_FILE),
            Argument("directory", metavar="DIR", type=_path, help="the directory; created if it does not exist"),
        ),
    ),
    Command(
        "diff",
        "show how much of a new image a device with an old one would download",
        _diff,
        (
            Argument(
                "old", metavar="OLD", type=_path, nargs="+", help="what the device has: Artifacts, images, partitions"
            ),
            Argument("new", metavar="NEW", type=_path, help="an Artifact with an index, or an image"),
            Argument("--json", action="store_true", help="print JSON, for programs"),
        ),
    ),
    Command("write", "create an Artifact", parts=_WRITE),
    Command(
        "index",
        "add an index, so that devices download only what they don't have",
        _index,
        (
            Argument("artifact", metavar="FILE", type=_path, help="the Artifact file"),
            Argument("-o", "--output-path", metavar="OUT", type=_path, required=True, help="where to write the result"),
        ),
    ),
    Command(
        "sign",
        "sign an Artifact, or replace its signature",
        _sign,
        (
            Argument("artifact", metavar="FILE", type=_path, help="the Artifact file"),
            Argument("-k", "--key", metavar="FILE", required=True, help="private key (PEM)"),
            Argument(
                "-o", "--output-path", metavar="OUT", type=_path, help="where to write the result (default: FILE)"
            ),
        ),
    ),
)
