"""The command line of ``mender-python-client``. Imports only what the given command needs."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

from mender_client import TYPE_CHECKING, commandline
from mender_client.commandline import Program
from mender_client.errors import ConfigError, Diagnostic, Interrupted, MenderError

from .command import command_of, completed
from .commands import CLIENT
from .exitcodes import ExitCode

if TYPE_CHECKING:
    import argparse


def build_parser(words: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """The parser of the program; see ``commandline.build_parser``."""
    return commandline.build_parser(CLIENT, words)


def main(arguments: Sequence[str] | None = None, program: Program = CLIENT) -> int:
    """Run the program, or one that offers some of its commands under another name."""
    words = sys.argv[1:] if arguments is None else arguments
    options = commandline.parse(program, words)
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal can't show is not an error
        code = int(options.run(options))
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except ConfigError as error:
        for problem in error.problems:
            print(f"{program.name}: {completed(str(problem), command_of(options))}", file=sys.stderr)
        return ExitCode.CONFIGURATION
    except Interrupted:
        return ExitCode.DONE
    except MenderError as error:
        print(f"{program.name}: {completed(str(error), command_of(options))}", file=sys.stderr)
        return ExitCode.FAILED
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # the reader of the output has exited; keep the interpreter from reporting that at exit
        sys.stdout = None
        return ExitCode.FAILED
    except OSError as error:
        if error.filename is None:
            sys.stdout = None  # keep the interpreter from reporting the error of standard output again at exit
            failure = Diagnostic("USE04", f"cannot write the result: {error.strerror or error}")
        else:
            from mender_client.system.files import AS_CLIENT

            remedy = AS_CLIENT if isinstance(error, PermissionError) else ""
            failure = Diagnostic("STO16", f"cannot access {error.filename}: {error.strerror}", remedy)
        print(f"{program.name}: {failure}", file=sys.stderr)
        return ExitCode.FAILED
