"""``mender.conf``: the table of its keys, the reader of its files, and the settings that come out."""

from .keys import ACCEPTED_KEYS, EXAMPLES, KEYS, LOG_LEVELS, RETIRED_KEYS, Key
from .reader import ConfigFindings, LoadedConfig, check_settings, examine, load_config, suggest
from .settings import Config

__all__ = [
    "ACCEPTED_KEYS",
    "EXAMPLES",
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
