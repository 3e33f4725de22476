"""What Locust and our listeners do with some command lines, as JSON: a separate process, since gevent patches it.

python -m fleet.checks DIRECTORY OPTIONS...    each argument holds the options of one command line
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
import time
from typing import Any

from locust import argument_parser, events, stats
from locust.env import Environment

from mender_fleet.users import HealthyDevice, SlowDevice


class Messages(logging.Handler):
    """Keeps the log messages."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one message."""
        self.texts.append(record.getMessage())


def check(line: str) -> tuple[int, list[str], dict[str, float]]:
    """The exit code, the messages, and the share of each device class."""
    options: Any = argument_parser.get_parser().parse_args(["--headless", *shlex.split(line)])
    environment = Environment(
        user_classes=[HealthyDevice, SlowDevice], host=options.host, parsed_options=options, events=events
    )
    runner = environment.create_local_runner()
    messages = Messages()
    logger = logging.getLogger("mender_fleet.master")
    logger.addHandler(messages)
    code = 0
    try:
        init: Any = events.init
        init.fire(environment=environment)
    except SystemExit as error:
        code = int(str(error.code))
    logger.removeHandler(messages)
    runner.greenlet.kill(block=True)
    return code, messages.texts, {one.__name__: one.weight for one in environment.user_classes}


def end_csv() -> str:
    """The output of a writer of CSV files if the files are closed while it sleeps."""
    environment = Environment(events=events)
    greenlets: Any = environment.create_local_runner().greenlet
    stats.CSV_STATS_INTERVAL_SEC = 0.01  # type: ignore[assignment]
    writer = stats.StatsCSVFileWriter(environment, [0.5], "out")
    writing = greenlets.spawn(writer.stats_writer)
    time.sleep(0)  # gevent's sleep
    writer.close_files()
    writing.join()
    return repr(writing.exception)


def main() -> None:
    """Run all checks."""
    os.chdir(sys.argv[1])
    print(json.dumps({"checks": [check(line) for line in sys.argv[2:]], "csv": end_csv()}))


if __name__ == "__main__":
    main()
