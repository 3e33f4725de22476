"""The first steps of a command: read the configuration and set up logging. Modules are imported when needed."""

from __future__ import annotations

from mender_client import TYPE_CHECKING
from mender_client.commandline import Options
from mender_client.dataclass import replace

from .command import command_of
from .paths import Paths

if TYPE_CHECKING:
    from mender_client.system.keys import Passphrase

    from .config import Config


def paths_of(options: Options) -> Paths:
    """The paths for the common options of the command line."""
    paths = Paths.locate(
        root=options.root, config=options.config, fallback_config=options.fallback_config, data=options.data
    )
    if getattr(options, "device", None) is None:
        return paths
    # imported only for a device of a gateway, to save memory
    from .gateway.paths import devices_directory
    from .gateway.select import paths_of_device

    return paths_of_device(options.device, paths, devices_directory(options.devices, paths.root))


def start(options: Options, *, is_server_needed: bool = True, is_daemon: bool = False) -> tuple[Config, Paths]:
    """Load the configuration and set up logging, for the paths that the options select."""
    paths = paths_of(options)
    return load(options, paths, is_server_needed=is_server_needed, is_daemon=is_daemon), paths


def load(options: Options, paths: Paths, *, is_server_needed: bool, is_daemon: bool = False) -> Config:
    """Load the configuration and set up logging.

    Args:
        options: the common options.
        paths: the device's files.
        is_server_needed: whether a configuration without a server is an error.
        is_daemon: whether to log to syslog as well, unless the options disable that.

    Raises:
        ConfigError: the configuration is wrong.
    """
    import logging

    from .config import load_config
    from .file_checks import check_configuration_files, check_files
    from .logs import set_up_logging
    from .startup import reset_inherited_state

    check_configuration_files(paths)
    reset_inherited_state()
    loaded = load_config(paths.config, paths.fallback_config, is_server_needed=is_server_needed)
    set_up_logging(
        level=options.log_level or loaded.config.daemon_log_level,
        file=options.log_file,
        is_syslog_wanted=is_daemon and not options.no_syslog,
        is_json=options.log_format == "json",
        command=command_of(options),
    )
    for warning in (*loaded.warnings, *check_files(loaded.config, paths, options.passphrase_file)):
        logging.getLogger(__name__).warning("%s", warning)
    config = loaded.config
    if paths.is_of_gateway:
        from .gateway.settings import settings_of

        config = settings_of(config, paths)
    return replace(config, skip_verify=True) if options.skipverify else config


def passphrase(options: Options, paths: Paths) -> Passphrase:
    """The passphrase in the file that the options name; not read yet."""
    from .passphrase import passphrase_of

    return passphrase_of(options.passphrase_file, paths)
