"""The command line of ``mender-python-client``. Imports only what the command at hand needs."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from mender_client import __version__
from mender_client.errors import ConfigError, Interrupted, MenderError

from .commands import PROGRAM, VERBS
from .exitcodes import ExitCode

_EPILOG = """\
exit codes: 0 done; 1 failed; 2 nothing to do, or nothing in progress; 64 wrong usage; 75 kept for later (report);
78 wrong configuration
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}\n")


def build_parser(words: Sequence[str] | None = None) -> _Parser:
    """The parser of all commands; the common options are accepted before and after the verb.

    Args:
        words: what is to be parsed: what can't be needed for it is left out. None leaves nothing out.
    """
    parser = _Parser(
        prog=PROGRAM,
        description="Keeps a device up to date from a Mender server.",
        epilog=_EPILOG,
        parents=[_common_options(is_default=True)],
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=_Parser)

    for verb in VERBS:
        if words is not None and verb.name not in words:
            verbs.add_parser(verb.name, help=verb.help)
            continue
        parents = [_common_options(is_default=False)]
        sub = verbs.add_parser(verb.name, help=verb.help, description=verb.help, epilog=_EPILOG, parents=parents)
        sub.set_defaults(run=verb.run)
        verb.add_options(sub, {"epilog": _EPILOG, "parents": parents})
    return parser


def _common_options(*, is_default: bool) -> _Parser:
    """The options of every command; after the verb they leave alone what stood before it."""
    options = _Parser(add_help=False, argument_default=None if is_default else argparse.SUPPRESS)
    add = options.add_argument_group("common options").add_argument
    add("-c", "--config", metavar="FILE", help="main configuration (default: /etc/mender/mender.conf)")
    add("--fallback-config", metavar="FILE", help="fallback configuration (default: mender.conf in the data directory)")
    add("-d", "--data", metavar="DIR", help="data directory (default: /var/lib/mender)")
    add("--root", metavar="DIR", help="directory that every path lies below; for tests, containers and images")
    add("-l", "--log-level", metavar="LEVEL", type=_log_level, help="debug, info, warning, error or critical")
    add("-L", "--log-file", metavar="FILE", help="log to this file instead of standard error")
    add("--log-format", metavar="FORMAT", choices=("text", "json"), help="text (default) or json, one object a line")
    suppressed: dict[str, Any] = {} if is_default else {"default": argparse.SUPPRESS}
    add("--no-syslog", action="store_true", help="don't log to syslog (the daemon does by default)", **suppressed)
    add("--skipverify", action="store_true", help="trust every server; for a test bench only", **suppressed)
    add("-F", "--forcebootstrap", action="store_true", help="replace the device key by a new one", **suppressed)
    add(
        "--passphrase-file",
        metavar="FILE",
        help="holds the key's passphrase, or its token's PIN; - reads standard input",
    )
    return options


def _log_level(text: str) -> str:
    from .logs import LEVELS

    if text.lower() not in LEVELS:
        raise argparse.ArgumentTypeError(f"unknown log level {text!r}; choose debug, info, warning, error or critical")
    return text.lower()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: what stands behind the program's name; default: those of this process.

    Returns:
        The exit code.
    """
    words = sys.argv[1:] if arguments is None else arguments
    options = build_parser(words).parse_args(words)
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal can't show ends nothing
        code = int(options.run(options))
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except ConfigError as error:
        for problem in error.problems:
            print(f"{PROGRAM}: {problem}", file=sys.stderr)
        return ExitCode.CONFIGURATION
    except Interrupted:
        return ExitCode.DONE
    except MenderError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return ExitCode.FAILED
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # whoever read our output has gone; keep the interpreter from complaining about it at exit
        sys.stdout = None
        return ExitCode.FAILED
    except OSError as error:
        # files of the device are the other rooms' business; what is left is standard output
        sys.stdout = None
        print(f"{PROGRAM}: cannot write the result: {error.strerror or error}", file=sys.stderr)
        return ExitCode.FAILED
