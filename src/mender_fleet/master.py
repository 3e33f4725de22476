"""Joins the fleet to Locust's events: options, guard, and the report that workers send and the master writes."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path
from typing import Any

from locust import argument_parser, events, runners
from locust.env import Environment
from locust.runners import WorkerRunner

from mender_client.errors import MenderError

from .hardware import provide_seed
from .options import add_options, server_of, wrong_usage
from .report import Outcomes, draw, summary
from .traffic import DOWNLOAD

_KEY = "mender_fleet"
_FAILED, _USAGE = 1, 64
_LIVENESS_SECONDS = 60
"""How long a worker may be too busy to tell that it is alive; Locust allows 3 seconds, and has no option for it."""
_logger = logging.getLogger(__name__)

outcomes = Outcomes()
"""Of this process; the master's are those of all workers."""


def _declare(parser: Any, **_: object) -> None:
    add_options(parser)


def _check(environment: Environment, **_: object) -> None:
    """End at once where the fleet can't run; the devices check the server too, for it can be changed on the page."""
    if not isinstance(environment.runner, WorkerRunner):  # the master tells a worker the server
        _check_server(environment)
    file = environment.parsed_options.seed_file  # type: ignore[union-attr]
    try:
        provide_seed(Path(file))
    except (OSError, ValueError) as error:
        _logger.error("cannot use the seed in %s: %s; name another file with --seed-file", file, error)
        raise SystemExit(_FAILED) from error


def _check_server(environment: Environment) -> None:
    try:
        url, _certificate = server_of(environment.host, environment.parsed_options)
    except MenderError as error:
        _logger.error("%s", error)
        raise SystemExit(_FAILED) from error
    environment.host = environment.host or url
    if problem := wrong_usage(url, environment.parsed_options, has_page=environment.web_ui is not None):
        _logger.error("%s", problem)
        raise SystemExit(_USAGE)


def _begin(environment: Environment, **_: object) -> None:
    if not isinstance(environment.runner, WorkerRunner):
        outcomes.clear()


def _tell(data: dict[str, Any], **_: object) -> None:
    data[_KEY] = outcomes.take()


def _hear(data: dict[str, Any], **_: object) -> None:
    outcomes.add(data.get(_KEY, {}))


def _report(environment: Environment, **_: object) -> None:
    if isinstance(environment.runner, WorkerRunner) or environment.runner is None:
        return
    entry = environment.stats.entries.get((DOWNLOAD, "GET"))
    text = summary(outcomes, download_bytes=0 if entry is None else entry.total_content_length)
    _logger.info("the fleet:\n%s", text)
    picture: str = environment.parsed_options.picture  # type: ignore[union-attr]
    if picture and outcomes.slots:
        Path(picture).write_text(draw(outcomes, f"deployments of {environment.host}"))
        _logger.info("the deployments over time are drawn in %s", picture)


def join() -> None:
    """Listen to Locust's events."""
    hooks: Any = events
    hooks.init_command_line_parser.add_listener(_declare)
    hooks.init.add_listener(_check)
    hooks.test_start.add_listener(_begin)
    hooks.report_to_master.add_listener(_tell)
    hooks.worker_report.add_listener(_hear)
    hooks.quitting.add_listener(_report)
    runners.HEARTBEAT_LIVENESS = _LIVENESS_SECONDS
    # a worker asks this for each option and second of the start, and each time two parsers of all options are made
    argument_parser.default_args_dict = cache(argument_parser.default_args_dict)
