"""Connects the fleet to Locust's events: options, checks, acceptance, and the report from workers to the master."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from locust import argument_parser, events, runners, stats
from locust.env import Environment
from locust.runners import WorkerRunner

from mender_client.errors import MenderError

from .acceptance import Acceptance, Waiting, management_of, management_token
from .hardware import digest_of, provide_seed
from .options import add_options, foreign_server, server_of, tenant_token, wrong_usage
from .report import Outcomes, draw, summary
from .shares import apply_shares, parse_shares
from .traffic import DOWNLOAD

_OUTCOMES, _WAITING = "mender_fleet", "mender_fleet_waiting"
_FAILED, _USAGE = 1, 64
_ACCEPT_SECONDS = 2.0
_LIVENESS_SECONDS = 60
"""How long a busy worker may send no heartbeat; Locust's limit is 3 seconds, and there is no option for it."""
_logger = logging.getLogger(__name__)

outcomes = Outcomes()
"""The outcomes in this process; on the master, those of all workers."""
waiting = Waiting()
"""The pending devices of this process; on the master, those of all workers."""


def _declare(parser: Any, **_: object) -> None:
    add_options(parser)


def _check(environment: Environment, **_: object) -> None:
    """Exit early if the fleet can't run; the devices check the server too, as it can be changed on Locust's page."""
    if isinstance(environment.runner, WorkerRunner):  # the master sends the server and the options to a worker
        return
    options: Any = environment.parsed_options
    _check_server(environment, options)
    _check_files(options)
    _take_shares(environment, options)
    if environment.runner is not None:
        environment.runner.greenlet.spawn(_accept_for_ever, environment)


def _check_server(environment: Environment, options: Any) -> None:
    try:
        if options.devserver:
            options.devserver = str(Path(options.devserver).resolve())  # the path is relative to the master's directory
        url, _certificate = server_of(environment.host, options)
    except MenderError as error:
        raise _end(_FAILED, str(error)) from error
    environment.host = environment.host or url
    if (options.num_users or 0) < 0:
        raise _end(_USAGE, f"cannot simulate {options.num_users} devices")
    if problem := wrong_usage(url, options, has_page=environment.web_ui is not None):
        raise _end(_USAGE, problem)


def _check_files(options: Any) -> None:
    """Read all files once, so that an error is not reported by every device, and create the seed."""
    with _usable("token", options.management_token_file):
        if options.preauthorize or options.accept:
            management_token(options)
    with _usable("token", options.tenant_token_file) as file:
        tenant_token(file)
    with _usable("certificate", options.certificate) as file:
        if file:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    with _usable("seed", options.seed_file) as file:
        options.seed_digest = digest_of(provide_seed(Path(file)))
    if options.picture and not Path(options.picture).resolve().parent.is_dir():
        raise _end(_FAILED, f"cannot draw to {options.picture}: its directory does not exist")


@contextmanager
def _usable(what: str, file: str) -> Iterator[str]:
    try:
        yield file
    except (OSError, ValueError) as error:
        raise _end(_FAILED, f"cannot use the {what} in {file}: {error}") from error


def _take_shares(environment: Environment, options: Any) -> None:
    try:
        if options.shares:
            environment.user_classes[:] = apply_shares(parse_shares(options.shares), environment.user_classes)
    except ValueError as error:
        raise _end(_USAGE, f"cannot use --shares: {error}") from error


def _end(code: int, problem: str) -> SystemExit:
    _logger.error("%s", problem)
    return SystemExit(code)


def _begin(environment: Environment, **_: object) -> None:
    if not isinstance(environment.runner, WorkerRunner):
        outcomes.clear()


def _tell(data: dict[str, Any], **_: object) -> None:
    data[_OUTCOMES], data[_WAITING] = outcomes.take(), waiting.take()


def _hear(data: dict[str, Any], **_: object) -> None:
    outcomes.add(data.get(_OUTCOMES, {}))
    waiting.add(data.get(_WAITING, ()))


def _accept_for_ever(environment: Environment) -> None:
    """Periodically accept the pending devices; a repeated error is logged only once."""
    told = ""
    while True:
        time.sleep(_ACCEPT_SECONDS)
        problem = _accept(environment)
        if problem and problem != told:
            _logger.error("cannot accept devices: %s", problem)
        told = problem


def _accept(environment: Environment) -> str:
    """Accept the pending devices; return the error message, or an empty string."""
    options: Any = environment.parsed_options
    host = environment.host or ""
    if not options.accept or foreign_server(server_of(host, options)[0], options):
        return ""

    def count(method: str, name: str, seconds: float, size_bytes: int, error: Exception | None) -> None:
        count_request(environment, method, name, seconds, size_bytes, error)

    try:
        with management_of(options, host, count) as management:
            Acceptance(management, waiting, most_per_second=options.accept_rate).run_once()
    except (MenderError, OSError, ValueError) as error:
        return str(error)
    return ""


def count_request(
    environment: Environment, method: str, name: str, seconds: float, size_bytes: int, error: Exception | None
) -> None:
    """Report a request to Locust."""
    request: Any = environment.events.request
    request.fire(
        request_type=method,
        name=name,
        response_time=seconds * 1000,
        response_length=size_bytes,
        exception=error,
        context={},
    )


def _report(environment: Environment, **_: object) -> None:
    if isinstance(environment.runner, WorkerRunner) or environment.runner is None:
        return
    _logger.info("the fleet:\n%s", _summary(environment))
    picture: str = environment.parsed_options.picture  # type: ignore[union-attr]
    if picture and outcomes.slots:
        try:
            Path(picture).write_text(_picture(environment))
        except OSError as error:
            _logger.error("cannot draw to %s: %s", picture, error)
        else:
            _logger.info("the deployments over time are drawn in %s", picture)


def _summary(environment: Environment) -> str:
    entry = environment.stats.entries.get((DOWNLOAD, "GET"))
    received = environment.stats.total.total_content_length
    return summary(outcomes, download_bytes=entry.total_content_length if entry else 0, received_bytes=received)


def _picture(environment: Environment) -> str:
    url, _certificate = server_of(environment.host, environment.parsed_options)
    return draw(outcomes, f"deployments of {url}")


def _add_page(environment: Environment, **_: object) -> None:
    """Add a page with the deployments so far to Locust's web interface."""
    if environment.web_ui is None or isinstance(environment.runner, WorkerRunner):
        return

    page: Any = environment.web_ui

    @page.app.route("/fleet")  # type: ignore[untyped-decorator]
    @page.auth_required_if_enabled  # type: ignore[untyped-decorator]
    def fleet() -> str:
        refresh = '<meta http-equiv="refresh" content="5">'
        picture = _picture(environment) if outcomes.slots else ""
        return f"<!doctype html><title>the fleet</title>{refresh}<pre>{_summary(environment)}</pre>{picture}"

    _logger.info("the deployments are shown at the path /fleet of the page")


class CsvWriter(stats.StatsCSVFileWriter):
    """Stops when its files are closed; Locust's own writer sometimes fails because it writes to a closed file."""

    def stats_writer(self) -> None:
        try:
            super().stats_writer()
        except ValueError:
            if not self.requests_csv_filehandle.closed:
                raise


def join() -> None:
    """Register the listeners for Locust's events."""
    hooks: Any = events
    hooks.init_command_line_parser.add_listener(_declare)
    hooks.init.add_listener(_check)
    hooks.init.add_listener(_add_page)
    hooks.test_start.add_listener(_begin)
    hooks.report_to_master.add_listener(_tell)
    hooks.worker_report.add_listener(_hear)
    hooks.quitting.add_listener(_report)
    runners.HEARTBEAT_LIVENESS = _LIVENESS_SECONDS
    stats.StatsCSVFileWriter = CsvWriter  # type: ignore[misc]
    # a worker calls this for each option in each second of the start, and each call builds two parsers of all options
    argument_parser.default_args_dict = cache(argument_parser.default_args_dict)
