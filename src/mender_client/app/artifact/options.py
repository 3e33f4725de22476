"""The command line of ``artifact …``; what does the work is imported when a command is run.

Names of options are those that the field's tool for Artifacts uses, where it has them.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from typing import Any

from mender_client.app.exitcodes import ExitCode

_FILE = "the Artifact file; - reads standard input"
_COMPRESSIONS = ("none", "gzip", "xz", "zstd")
_SCRIPT = re.compile(
    r"Artifact(Install|Reboot|Commit|Rollback|RollbackReboot|Failure)_(Enter|Leave|Error)_[0-9]{2}(_.+)?"
)


class _Commands:
    """Where commands go, and what all of them have."""

    def __init__(self, parser: argparse.ArgumentParser, common: dict[str, Any]) -> None:
        self._verbs = parser.add_subparsers(
            title="commands", metavar="COMMAND", required=True, parser_class=type(parser)
        )
        self._common = common

    def add(
        self, name: str, text: str, run: Callable[[argparse.Namespace], ExitCode] | None
    ) -> argparse.ArgumentParser:
        parser = self._verbs.add_parser(name, help=text, description=text, **self._common)
        parser.set_defaults(run=run)
        return parser

    def below(self, parser: argparse.ArgumentParser) -> _Commands:
        """Commands of a command."""
        return _Commands(parser, self._common)


def add_commands(parser: argparse.ArgumentParser, common: dict[str, Any]) -> None:
    """Add the commands to ``artifact``.

    Args:
        parser: the parser of ``artifact``.
        common: further arguments for each command's parser: the common options.
    """
    commands = _Commands(parser, common)
    _add_show(commands)
    _add_verify(commands)
    _add_cat(commands)
    _add_write(commands)
    _add_sign(commands)


def _add_show(commands: _Commands) -> None:
    parser = commands.add("show", "verify an Artifact and print what it says", _show)
    parser.add_argument("artifact", metavar="FILE", help=_FILE)
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def _add_verify(commands: _Commands) -> None:
    parser = commands.add("verify", "verify an Artifact as a device does, and check its signature", _verify)
    parser.add_argument("artifact", metavar="FILE", help=_FILE)
    parser.add_argument(
        "-k", "--key", metavar="FILE", action="append", default=[], help="public key (PEM); one of several must fit"
    )
    parser.add_argument("-t", "--device-type", metavar="TYPE", help="it must be made for this type of device")


def _add_cat(commands: _Commands) -> None:
    parser = commands.add("cat", "write one payload file to standard output, verified", _cat)
    parser.add_argument("artifact", metavar="ARTIFACT", help=_FILE)
    parser.add_argument(
        "file", metavar="FILE", nargs="?", help="the payload file; may be left out when there is only one"
    )


def _add_sign(commands: _Commands) -> None:
    parser = commands.add("sign", "sign an Artifact, or replace its signature", _sign)
    parser.add_argument("artifact", metavar="FILE", type=_path, help="the Artifact file")
    parser.add_argument("-k", "--key", metavar="FILE", required=True, help="private key (PEM)")
    parser.add_argument(
        "-o", "--output-path", metavar="OUT", type=_path, help="where the signed Artifact goes (default: FILE)"
    )


def _add_write(commands: _Commands) -> None:
    kinds = commands.below(commands.add("write", "make an Artifact", None))
    rootfs = kinds.add("rootfs-image", "make an Artifact of a root file system image", _write_rootfs)
    rootfs.add_argument(
        "-f", "--file", metavar="FILE", type=_path, action=_Once, required=True, default=[], help="the image"
    )
    _add_common(rootfs)
    _add_software(rootfs)
    rootfs.add_argument("--no-checksum-provide", action="store_true", help="don't provide the image's checksum")
    module = kinds.add("module-image", "make an Artifact for an update module", _write_module)
    module.add_argument("-T", "--type", dest="payload_type", metavar="TYPE", type=_line, required=True, help="module")
    module.add_argument(
        "-f", "--file", metavar="FILE", type=_path, nargs="+", action="extend", default=[], help="payload files"
    )
    module.add_argument("-m", "--meta-data", metavar="FILE", type=_path, help="a JSON object for the update module")
    _add_common(module)
    _add_software(module)
    bootstrap = kinds.add("bootstrap-artifact", "make an Artifact without payload", _write_bootstrap)
    _add_common(bootstrap)
    bootstrap.set_defaults(file=[])
    for parser in (rootfs, bootstrap):
        parser.set_defaults(meta_data=None)


class _Once(argparse.Action):
    """Takes one value, as a list of one; a second one would silently win otherwise."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option: object = None
    ) -> None:
        if getattr(namespace, self.dest):
            parser.error(f"argument {option}: give it once")
        setattr(namespace, self.dest, [values])


def _add_common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-n", "--artifact-name", metavar="NAME", type=_line, required=True, help="the Artifact's name")
    add("-t", "--device-type", metavar="TYPE", type=_line, action="append", required=True, help="may be repeated")
    add("-o", "--output-path", metavar="OUT", type=_path, required=True, help="where the Artifact goes")
    add("--compression", choices=_COMPRESSIONS, default="gzip", help="default: gzip")
    add("-k", "--key", metavar="FILE", help="private key (PEM) that signs it")
    for_scripts = {"nargs": "+", "action": "extend", "default": []}
    add("-s", "--script", metavar="FILE", type=_script, help="state scripts", **for_scripts)  # type: ignore[arg-type]

    def many(*names: str, metavar: str, kind: Callable[[str], object], text: str) -> None:
        add(*names, metavar=metavar, type=kind, action="append", default=[], help=text)

    many("-p", "--provides", metavar="K:V", kind=_pair, text="what the device provides after the update")
    many("--depends", metavar="K:V", kind=_pair, text="what the device must provide before; of one key any value")
    many("--clears-provides", metavar="GLOB", kind=_line, text="provides that the update drops")
    many("-N", "--artifact-name-depends", metavar="NAME", kind=_line, text="one of these must be installed")
    many("-G", "--depends-groups", metavar="GROUP", kind=_line, text="the device must be in one of these")
    add("-g", "--provides-group", metavar="GROUP", type=_line, help="the group that the device is in then")


def _add_software(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--software-filesystem", metavar="NAME", type=_line, help="first part of the version's key (rootfs-image)")
    add("--software-name", metavar="NAME", type=_line, help="second part of it (update modules: their type)")
    add("--software-version", metavar="TEXT", type=_line, help="the version (default: the Artifact's name)")
    add("--no-default-software-version", action="store_true", help="don't provide a version")
    add("--no-default-clears-provides", action="store_true", help="don't clear the provides of an older one")


def _path(text: str) -> str:
    if text in ("", "-"):
        raise argparse.ArgumentTypeError("must be the path of a file")
    return text


def _script(text: str) -> str:
    name = text.rpartition("/")[2]
    if _SCRIPT.fullmatch(name) is None:
        raise argparse.ArgumentTypeError(
            f"{name!r} would never run; a state script is named like ArtifactInstall_Enter_10_what-it-does"
        )
    return text


def _line(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError("must be a text of one line")
    return text


def _pair(text: str) -> tuple[str, str]:
    key, colon, value = _line(text).partition(":")
    if not colon or not key.strip() or "=" in key or key.strip() != key:
        raise argparse.ArgumentTypeError(f"{text!r} isn't of the form key:value")
    return key, value


def _show(options: argparse.Namespace) -> ExitCode:
    from .look import show

    return show(options.artifact, is_json_wanted=options.json)


def _verify(options: argparse.Namespace) -> ExitCode:
    from .look import verify

    return verify(options.artifact, keys=options.key, device_type=options.device_type)


def _cat(options: argparse.Namespace) -> ExitCode:
    from .look import cat

    return cat(options.artifact, options.file)


def _write_rootfs(options: argparse.Namespace) -> ExitCode:
    from .make import write_rootfs

    return write_rootfs(options)


def _write_module(options: argparse.Namespace) -> ExitCode:
    from .make import write_module

    return write_module(options)


def _write_bootstrap(options: argparse.Namespace) -> ExitCode:
    from .make import write_bootstrap

    return write_bootstrap(options)


def _sign(options: argparse.Namespace) -> ExitCode:
    from mender_client.app.passphrase import passphrase_of

    from .make import sign

    passphrase = passphrase_of(options.passphrase_file)
    return sign(options.artifact, key=options.key, output=options.output_path, passphrase=passphrase)
