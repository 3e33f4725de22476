"""``mender-devserver``: run the server, and control a running one.

Results go to standard output, as aligned tables or, with ``--json``, as JSON; errors go to standard error, one line
each. Exit codes: 0 success; 1 failure; 2 the requested object doesn't exist (no such device, no log yet …); 64 wrong
usage; 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mender_client.errors import ConfigError, MenderError, ServerError
from mender_devserver.commands import SHORT_ID, table
from mender_devserver.contact import Contact, load_contact
from mender_devserver.parser import DEFAULT_DIRECTORY, parse_arguments
from mender_devserver.reasons import reason_of

if TYPE_CHECKING:
    from mender_devserver.activity import Event

DONE, FAILED, MISSING, USAGE, INTERRUPTED = 0, 1, 2, 64, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    arguments = parse_arguments(sys.argv[1:] if argv is None else argv)
    try:
        if arguments.run is None:
            serve(arguments)
        else:
            value, text = arguments.run(load_contact(arguments.directory), arguments)
            if text or value is not None:
                print(json.dumps(value, indent=2) if arguments.json else text, flush=True)
    except BrokenPipeError:
        _fall_silent()  # standard output was closed by its reader
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except ConfigError as error:
        return _complain(str(error), USAGE)
    except ServerError as error:
        return _complain(str(error), MISSING if error.status == 404 else FAILED)
    except MenderError as error:
        return _complain(str(error), FAILED)
    except OSError as error:
        return _complain(f"cannot use {error.filename or 'a file'}: {reason_of(error)}", FAILED)
    return DONE


def _complain(message: str, code: int) -> int:
    print(f"mender-devserver: {message}", file=sys.stderr)
    return code


# serve


def serve(arguments: argparse.Namespace) -> None:
    """Run the server in the foreground until SIGINT or SIGTERM."""
    from mender_devserver.server import DevServer  # aiohttp is needed for this command only

    happened: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
    # a signal handler would run only after get() returns, and a signal just before get() blocks would not wake it
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)

    def await_signal() -> None:
        signal.sigwait(signals)
        happened.put(None)

    threading.Thread(target=await_signal, daemon=True).start()
    server = DevServer(
        arguments.directory,
        tls=not arguments.plain,
        host=arguments.host,
        port=arguments.port,
        storage_port=arguments.storage_port,
        auto_accept=arguments.auto_accept,
        v2=arguments.v2,
    )
    with server:
        server.subscribe(happened.put)
        _tell(_greeting(load_contact(arguments.directory), arguments))
        while (event := happened.get()) is not None:
            _tell(_event_json(event) if arguments.json else _event_text(event))


def _tell(text: str) -> None:
    """Print a line; if standard output is closed or can't be written, the server continues without output."""
    try:
        print(text, flush=True)
    except OSError:
        _fall_silent()


def _fall_silent() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _greeting(contact: Contact, arguments: argparse.Namespace) -> str:
    told = {
        "ServerURL": contact.url,
        "ServerCertificate": contact.certificate,
        "storage": contact.storage_url,
        "directory": str(arguments.directory.resolve()),
    }
    if arguments.json:
        return json.dumps(told)
    return (
        table([(name, value) for name, value in told.items() if value])
        + f"\n{_how_to_watch(arguments)}\nstop with Ctrl-C\n"
    )


def _how_to_watch(arguments: argparse.Namespace) -> str:
    directory = (
        "" if arguments.directory == DEFAULT_DIRECTORY else f" --directory {shlex.quote(str(arguments.directory))}"
    )
    return f"'mender-devserver page{directory}' prints the address of its web page"


def _event_json(event: Event) -> str:
    return json.dumps({"number": event.number, "time": event.time.isoformat(), "name": event.name, **event.data})


def _event_text(event: Event) -> str:
    said = [f"{name}={_short(value)}" for name, value in event.data.items() if value not in ("", None)]
    return f"{event.time:%H:%M:%S}  {event.name:20}  {'  '.join(said)}"


def _short(value: object) -> str:
    if isinstance(value, str):
        return value[:SHORT_ID] if len(value) == 36 and value.count("-") == 4 else value
    return json.dumps(value, separators=(",", ":"))


if __name__ == "__main__":
    sys.exit(main())
