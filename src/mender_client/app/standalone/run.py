"""``install``, ``commit``, ``rollback`` and ``resume``."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager

from mender_client.app.assemble import DeviceParts
from mender_client.app.config import Config
from mender_client.app.exitcodes import ExitCode
from mender_client.app.host import Host
from mender_client.app.installer import root_warning
from mender_client.app.paths import Paths
from mender_client.app.signals import handled_signals
from mender_client.client.standalone import Standalone
from mender_client.core.artifact import ArtifactReader, limits_for
from mender_client.core.artifact.stream import Readable
from mender_client.dataclass import dataclass
from mender_client.errors import ConfigError, Diagnostic, Interrupted
from mender_client.system.capacity import DeviceCapacity
from mender_client.system.digest import choose_digest
from mender_client.system.files import make_directory
from mender_client.system.locks import DaemonLock

from . import output
from .naming import ensure_name, offline_parts
from .source import is_address, open_source

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """The options of a standalone command.

    Attributes:
        stops: the states before which to stop.
        is_reboot_told: whether a required reboot has its own exit code.
    """

    stops: frozenset[str]
    is_reboot_told: bool = False


def install(load: Callable[[], Config], paths: Paths, source: str, request: Request) -> ExitCode:
    """Install an Artifact.

    Args:
        load: loads the settings, and sets up logging accordingly.
        paths: the device's files.
        source: the path of a file, an http or https address, or ``-`` for standard input.
        request: the options of the command.

    Raises:
        ConfigError: the settings are invalid.
        MenderError: the daemon or another command is running, or the state file can't be used.
    """
    config = load()
    make_directory(paths.data)
    with ExitStack() as stack:
        stack.enter_context(_held(DaemonLock(paths.command_lock, is_command=True)))
        stack.enter_context(_held(DaemonLock(paths.daemon_lock, is_command=True)))
        made = DeviceParts(Host(config, paths), config, paths) if is_address(source) else offline_parts(config, paths)
        parts = stack.enter_context(closing(made))
        if not ensure_name(parts, config):
            return ExitCode.FAILED

        def read() -> ArtifactReader:
            return _reader(parts, open_source(parts, config, source, stack))

        return _carry_out(parts, request, lambda standalone: standalone.install(read))


def _reader(parts: DeviceParts, stream: Readable) -> ArtifactReader:
    keys = parts.verify_keys
    if keys is not None:
        for fault in keys.load():
            _logger.warning("%s", fault)
    limits = limits_for(DeviceCapacity([]).memory_bytes())
    return ArtifactReader(stream, limits=limits, check_signature=keys, new_digest=choose_digest())


def commit(load: Callable[[], Config], paths: Paths, request: Request) -> ExitCode:
    """Commit the installed update; arguments as for ``install``.

    Raises:
        MenderError: another command is running, or the state file can't be used.
    """
    return _go_on(load, paths, request, lambda standalone: standalone.commit())


def roll_back(load: Callable[[], Config], paths: Paths, request: Request) -> ExitCode:
    """Roll back the installed update; arguments and errors as for ``commit``."""
    return _go_on(load, paths, request, lambda standalone: standalone.roll_back())


def resume(load: Callable[[], Config], paths: Paths, request: Request) -> ExitCode:
    """Continue an update that was stopped or interrupted; arguments and errors as for ``commit``."""
    return _go_on(load, paths, request, lambda standalone: standalone.resume())


def _go_on(
    load: Callable[[], Config], paths: Paths, request: Request, command: Callable[[Standalone], None]
) -> ExitCode:
    """Continue an update in progress. The daemon may be running: it starts no deployment before the update is over."""
    try:
        config = load()
    except ConfigError as error:  # the update may have changed the settings, and must still be rolled back
        for problem in error.problems:
            _logger.error("%s", problem)
        config = Config()
    make_directory(paths.data)
    with _held(DaemonLock(paths.command_lock, is_command=True)), closing(offline_parts(config, paths)) as parts:
        return _carry_out(parts, request, command)


def _carry_out(parts: DeviceParts, request: Request, command: Callable[[Standalone], None]) -> ExitCode:
    if (warning := root_warning(parts.paths)) is not None:
        _logger.warning("%s", warning)
    standalone = parts.standalone(begun=lambda: print(output.BEGUN, flush=True), stops=request.stops)
    with _ended_by_signals(parts):
        try:
            command(standalone)
        except Interrupted:
            text = "interrupted before it finished"
            remedy = "run 'resume' to continue; 'status' shows whether an update is in progress"
            _logger.error("%s", Diagnostic("UPD27", text, remedy))
            return ExitCode.FAILED
    for line in output.lines(standalone.facts):
        print(line)
    return output.exit_code(standalone.facts, is_reboot_told=request.is_reboot_told)


@contextmanager
def _held(lock: DaemonLock) -> Iterator[None]:
    lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _ended_by_signals(parts: DeviceParts) -> AbstractContextManager[None]:
    """On a signal, end the running module or script instead of leaving it behind; ``resume`` can continue later."""

    def stop(*_: object) -> None:
        parts.clock.stop()
        parts.transport.stop()

    return handled_signals(dict.fromkeys((signal.SIGTERM, signal.SIGINT, signal.SIGHUP), stop))
