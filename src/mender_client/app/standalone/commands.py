"""``install``, ``commit``, ``rollback`` and ``resume``, as called from the command line."""

from __future__ import annotations

from functools import partial

from mender_client.app.config import Config
from mender_client.app.exitcodes import ExitCode
from mender_client.app.loading import load, paths_of
from mender_client.commandline import Options

from . import run
from .run import Request


def install(options: Options) -> ExitCode:
    """Carry out ``install``; see ``run.install``."""
    request = _request(options, is_reboot_told=options.reboot_exit_code)
    return run.install(partial(_load, options), paths_of(options), options.artifact, request)


def commit(options: Options) -> ExitCode:
    """Carry out ``commit``; see ``run.commit``."""
    return run.commit(partial(_load, options), paths_of(options), _request(options))


def roll_back(options: Options) -> ExitCode:
    """Carry out ``rollback``; see ``run.roll_back``."""
    return run.roll_back(partial(_load, options), paths_of(options), _request(options))


def resume(options: Options) -> ExitCode:
    """Carry out ``resume``; see ``run.resume``."""
    request = _request(options, is_reboot_told=options.reboot_exit_code)
    return run.resume(partial(_load, options), paths_of(options), request)


def _load(options: Options) -> Config:
    return load(options, paths_of(options), is_server_needed=False)


def _request(options: Options, *, is_reboot_told: bool = False) -> Request:
    return Request(frozenset(options.stop_before), is_reboot_told)
