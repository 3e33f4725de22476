"""``connect``: terminals, file transfers, port forwarding and requests from the server, beside the daemon.

It authenticates independently of the daemon, with the same device key and identity: the server issues a token to each
process, and one does not invalidate the other.
"""

from __future__ import annotations

import logging
import os
import pwd
import signal
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import closing
from hashlib import sha1

from mender_client import TYPE_CHECKING
from mender_client.connect.protocol.ports import RefusedError
from mender_client.connect.protocol.terminal import TerminalLimits
from mender_client.connect.settings import ConnectSettings, FileLimits
from mender_client.core.wire.deviceconnect import Protocol, build_connect_request
from mender_client.core.wire.messages import Reply, Request, refuse
from mender_client.dataclass import replace
from mender_client.errors import ConfigError, Diagnostic, MenderError, NetworkError
from mender_client.system.clock import jitter
from mender_client.system.exchange import Upgraded
from mender_client.system.files import make_directory
from mender_client.system.http import HttpTransport
from mender_client.system.keys import Passphrase
from mender_client.system.locks import DaemonLock

from .config import Config
from .config.connect_keys import ConnectConfig, load_connect
from .connect_checks import file_problems, package_problem, setting_warnings, shell_problems
from .devicekey import device_key
from .exitcodes import ExitCode
from .host import Host
from .logs import kept_on_failure, reopen_log_files
from .observers import make_notifier
from .paths import Paths
from .server_parts import ServerParts
from .signals import handled_signals

if TYPE_CHECKING:
    from typing import Any

    from mender_client.connect.service import ConnectService, Opened

_logger = logging.getLogger(__name__)

_WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""The GUID of RFC 6455, section 1.3."""
_IDLE_SECONDS = 600.0
_LANGUAGE = ("LANG", "LC_ALL", "LC_CTYPE")


def run_connect(config: Config, paths: Paths, passphrase: Passphrase, load: Callable[[], Config]) -> ExitCode:
    """Keep this device reachable until a signal ends the program.

    Args:
        config: the settings of the client.
        paths: the device's files.
        passphrase: unlocks the device key.
        load: reloads the settings of the client, and sets up logging accordingly.

    Raises:
        MenderError: ``connect`` can't start.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until it is handled
    settings = _load_settings(config, paths)
    try:
        from mender_client.connect.service import ConnectService
    except ModuleNotFoundError as error:
        raise ConfigError([package_problem(str(error.name))]) from error
    make_directory(paths.data)
    lock = DaemonLock(paths.connect_lock, is_command=True)
    lock.acquire()
    try:
        notifier = make_notifier(os.environ, os.getpid())
        with closing(_Way(config, paths, passphrase)) as way:
            service = ConnectService(
                way.open,
                settings,
                lambda what: _wake_daemon(paths, what),
                sha1(os.fsencode(paths.data.resolve()), usedforsecurity=False).hexdigest()[:12],
                {name: os.environ[name] for name in _LANGUAGE if name in os.environ},
                config.retry_poll_seconds,
                jitter,
                notifier.state if notifier is not None else lambda _: None,
            )
            os.chdir("/")
            handlers = _handlers(service, way, lambda: _reload(service, way, load))
            with handled_signals(handlers, service.loop.wake_descriptor):
                if notifier is not None:
                    notifier.ready()
                service.run()
    finally:
        lock.release()
    return ExitCode.DONE


def _load_settings(config: Config, paths: Paths) -> ConnectSettings:
    """Load what ``mender-connect.conf`` allows on this device.

    Raises:
        ConfigError: there is no such file, another user could have written it, or a setting is wrong.
    """
    if problems := file_problems(paths):
        raise ConfigError(problems)
    connect_config, warnings = load_connect(paths.connect_config, paths.fallback_connect_config)
    for warning in (*warnings, *setting_warnings(connect_config)):
        _logger.warning("%s", warning)
    if not config.remote_terminal:
        connect_config = replace(connect_config, remote_terminal=False)
    return connect_settings(connect_config)


def _reload(service: ConnectService, way: _Way, load: Callable[[], Config]) -> None:
    """Reload ``mender.conf`` and ``mender-connect.conf``; errors are logged, and the old settings stay in effect."""
    try:
        with kept_on_failure():
            config = load()
            settings = _load_settings(config, way.paths)
            way.renew(config)
    except MenderError as error:
        reopen_log_files()
        for problem in error.problems if isinstance(error, ConfigError) else (error.diagnostic,):
            _logger.error("%s", problem)
        text = "configuration not reloaded; the old one stays in effect"
        _logger.error("%s", Diagnostic("CON10", text, "correct it and reload again"))
    else:
        service.renew(settings, config.retry_poll_seconds)
        _logger.info("configuration reloaded; connecting again")


def connect_settings(config: ConnectConfig) -> ConnectSettings:
    """Translate the settings of the file.

    Raises:
        ConfigError: the user or the shell can't be used on this device.
    """
    if config.has_terminals:
        _check_shell(config)
    disabled = {
        Protocol.FILES: config.file_transfer_disable,
        Protocol.PORTS: config.port_forward_disable,
        Protocol.CLIENT: config.mender_client_disable,
    }
    idle, total = float(config.expire_after_idle_seconds), float(config.expire_after_seconds)
    return ConnectSettings(
        user=config.user,
        shell_command=config.shell_command,
        shell_arguments=config.shell_arguments,
        terminals=TerminalLimits(
            is_disabled=not config.has_terminals,
            width=config.terminal_width,
            height=config.terminal_height,
            per_user=config.most_per_user or 1,
            seconds=total if config.stop_expired and not idle else 0.0,
            idle_seconds=(idle or (0.0 if total else _IDLE_SECONDS)) if config.stop_expired else 0.0,
        ),
        disabled=frozenset(int(proto) for proto, is_off in disabled.items() if is_off),
        files=_file_limits(config),
        sent_per_minute=config.sent_per_minute if config.has_limits else 0,
        received_per_minute=config.received_per_minute if config.has_limits else 0,
    )


def _file_limits(config: ConnectConfig) -> FileLimits:
    if not config.has_limits:
        return FileLimits()
    return FileLimits(
        chroot=config.chroot,
        is_link_followed=config.is_link_followed,
        is_overwritten=config.is_overwritten,
        owner_put=config.owner_put,
        group_put=config.group_put,
        owners_get=config.owners_get,
        groups_get=config.groups_get,
        umask=int(config.umask, 8) if config.umask else None,
        most_bytes=config.most_bytes,
    )


def _check_shell(config: ConnectConfig) -> None:
    problems = shell_problems(config)
    if not problems and os.geteuid() not in (0, pwd.getpwnam(config.user).pw_uid):
        text = f"User: only root can start shells for {config.user!r:.80}"
        problems.append(Diagnostic("CON08", text, "run connect as root, or specify its own user"))
    if problems:
        raise ConfigError(problems)


class _Way:
    """The connection to the server: opens the WebSocket, with the client's authorisation.

    Args:
        config: the settings.
        paths: the device's files.
        passphrase: unlocks the device key.
    """

    def __init__(self, config: Config, paths: Paths, passphrase: Passphrase) -> None:
        self.paths = paths
        self._passphrase = passphrase
        self._parts = self._make(config)

    def renew(self, config: Config) -> None:
        """Apply new settings; must not be called while ``open`` runs.

        Raises:
            ConfigError: a key or certificate that they name can't be used.
        """
        parts = self._make(config)
        old, self._parts = self._parts, parts
        old.close()

    def stop(self, *, is_connected: bool) -> None:
        """Refuse further requests, and interrupt what is in progress; safe in a signal handler."""
        self._parts.clock.stop()
        if not is_connected:
            self._parts.transport.stop()

    def close(self) -> None:
        """Close connections and file descriptors."""
        self._parts.close()

    def open(self) -> Opened:
        """Open the WebSocket.

        Raises:
            MenderError: the device isn't accepted, or the server can't be reached or refuses.
            Interrupted: the program was asked to stop.
        """
        from mender_client.connect.service import Opened

        session, transport = self._parts.session, _UpgradingTransport(self._parts.transport)
        session.transport = transport
        key = b64encode(os.urandom(16))
        reply = session.call(lambda token: build_connect_request(token, key.decode()))
        upgraded = transport.upgraded
        if reply.status != 101 or upgraded is None:
            refuse("open the connection for connect", reply, now=self._parts.clock.now())
        answer = b64encode(sha1(key + _WEBSOCKET, usedforsecurity=False).digest()).decode()
        if reply.headers.get("sec-websocket-accept", "") != answer:
            upgraded.sock.close()
            text = "cannot open the connection for connect: the server's address does not answer as a WebSocket"
            raise NetworkError("CON09", text, remedy="check the proxies on the way to the server")
        transport.rest()  # the connection used to authenticate is no longer needed
        return Opened(upgraded.sock, upgraded.early, session.authorise().server_url)

    def _make(self, config: Config) -> ServerParts:
        key = device_key(config, self.paths, self._passphrase)
        return ServerParts(Host(config, self.paths), config, self.paths, key=key)


class _UpgradingTransport:
    """Upgrades the connection of a request that asks for it, and sends other requests unchanged."""

    def __init__(self, transport: HttpTransport) -> None:
        self._transport = transport
        self.upgraded: Upgraded | None = None

    def send(self, request: Request) -> Reply:
        if "Upgrade" not in request.headers:
            return self._transport.send(request)
        reply, self.upgraded = self._transport.upgrade(request)
        return reply

    def open(self, url: str, headers: Mapping[str, str]) -> Any:
        return self._transport.open(url, headers)

    def rest(self) -> None:
        self._transport.rest()


_SIGNALS = {"check-update": signal.SIGUSR1, "send-inventory": signal.SIGUSR2}


def _wake_daemon(paths: Paths, what: str) -> None:
    pid = DaemonLock(paths.daemon_lock).holder()
    if pid is None:
        raise RefusedError("no daemon is running")
    try:
        os.kill(pid, _SIGNALS[what])
    except OSError as error:
        raise RefusedError(f"cannot signal the daemon: {error.strerror}") from error


def _handlers(service: ConnectService, way: _Way, reload: Callable[[], None]) -> dict[int, Callable[..., None]]:
    """TERM and INT end the program, HUP reloads the configuration, and CHLD reaps the shells that have ended."""

    def stop(*_: object) -> None:
        service.stop()
        way.stop(is_connected=service.is_connected)

    return {
        signal.SIGTERM: stop,
        signal.SIGINT: stop,
        signal.SIGHUP: lambda *_: service.call_when_settled(reload),
        signal.SIGCHLD: lambda *_: service.child_ended(),
    }
