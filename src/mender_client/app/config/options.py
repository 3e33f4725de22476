"""The commands of ``config``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mender_client import TYPE_CHECKING
from mender_client.app.exitcodes import ExitCode
from mender_client.app.loading import paths_of
from mender_client.app.paths import Paths
from mender_client.commandline import Argument, Command, Options
from mender_client.errors import Diagnostic

if TYPE_CHECKING:
    from typing import Any

    from .connect_keys import ConnectConfig
    from .settings import Config

    _Faults = tuple[Sequence[Diagnostic], Sequence[Diagnostic]]


def _check(options: Options) -> ExitCode:
    from .commands import check, check_connect

    if options.file is not None:
        file = Path(options.file)
        is_connect = file.name.startswith("mender-connect")
        return check_connect(file, is_json=options.json) if is_connect else check(file, file, is_json=options.json)
    paths = paths_of(options)
    if options.devices is not None and options.device is None:
        from mender_client.app.gateway.check import check_descriptions
        from mender_client.app.gateway.paths import devices_directory

        return check_descriptions(paths, devices_directory(options.devices, paths.root), is_json=options.json)
    from mender_client.app.file_checks import configuration_file_problems

    connect = (paths.connect_config, paths.fallback_connect_config)
    return check(
        paths.config,
        paths.fallback_config,
        is_json=options.json,
        connect=connect,
        file_problems=configuration_file_problems(paths),
        find_faults=lambda config: _faults(config, paths),
        find_connect_faults=lambda config: _connect_faults(config, paths),
    )


def _faults(config: Config, paths: Paths) -> _Faults:
    """The settings that can't work on this device."""
    from mender_client.app.setting_faults import find_setting_faults

    if paths.is_of_gateway:
        from mender_client.app.gateway.settings import settings_of

        config = settings_of(config, paths)
    return find_setting_faults(config, paths)


def _connect_faults(config: ConnectConfig, paths: Paths) -> _Faults:
    from mender_client.app.connect_checks import file_problems, setting_warnings, shell_problems

    return [*file_problems(paths), *shell_problems(config)], [*setting_warnings(config)]


def _show(options: Options) -> ExitCode:
    from .commands import show

    return show(paths_of(options), overrides=_overrides(options), is_json=options.json, is_changed_only=options.changed)


def _overrides(options: Options) -> dict[str, tuple[str, Any]]:
    """The settings that the command line overrides: option and value, by key."""
    overrides: dict[str, tuple[str, Any]] = {}
    if options.log_level:
        overrides["DaemonLogLevel"] = ("--log-level", options.log_level)
    if options.skipverify:
        overrides["SkipVerify"] = ("--skipverify", True)
    return overrides


def _set(options: Options) -> ExitCode:
    from .set_value import set_value

    return set_value(paths_of(options), options.key, options.value)


def _explain(options: Options) -> ExitCode:
    from .commands import explain

    return explain(options.keys)


_JSON = Argument("--json", action="store_true", help="print JSON, for programs")

COMMANDS = (
    Command(
        "check",
        "report all errors and warnings in mender.conf and mender-connect.conf",
        _check,
        (
            Argument("file", metavar="FILE", nargs="?", help="check this file alone, on any machine; not below --root"),
            _JSON,
        ),
        more="Without FILE, all files are checked at once. A FILE whose name begins with mender-connect is checked as "
        "mender-connect.conf. With --devices, the descriptions of a gateway's devices are checked.",
    ),
    Command(
        "show",
        "print the configuration, and where each value comes from",
        _show,
        (Argument("--changed", action="store_true", help="leave out the defaults"), _JSON),
        more="Both files are merged; secrets are masked.",
    ),
    Command(
        "set",
        "set a key in the main mender.conf",
        _set,
        (
            Argument("key", metavar="KEY", help="the key, such as HttpsClient.Key"),
            Argument("value", metavar="VALUE", help="the value: a string as is, anything else as JSON"),
        ),
        more="The file is only written if the result is valid; of two keys that need each other, one may be set first, "
        "with a warning. Everything else in it is kept.",
    ),
    Command(
        "explain",
        "explain the keys of mender.conf and mender-connect.conf",
        _explain,
        (Argument("keys", metavar="KEY", nargs="*", help="the keys (default: all)"),),
    ),
)
