"""``mender.conf``: its keys, the reader of its files, and the resulting settings."""

from .keys import ACCEPTED_KEYS, RETIRED_KEYS, Key
from .reader import ConfigFindings, LoadedConfig, check_settings, examine, load_config, suggest
from .settings import KEYS, LOG_LEVELS, Config

__all__ = [
    "ACCEPTED_KEYS",
    "KEYS",
    "LOG_LEVELS",
    "RETIRED_KEYS",
    "Config",
    "ConfigFindings",
    "Key",
    "LoadedConfig",
    "check_settings",
    "examine",
    "load_config",
    "suggest",
]
