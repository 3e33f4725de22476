"""Changes a ``mender.conf``: sets keys, and keeps everything else in the file."""

from __future__ import annotations

import json
from typing import Any

from .commands import masked
from .settings import KEYS


class ConfigFile:
    """The main configuration file with its changes, which are not written yet."""

    def __init__(self, content: bytes | None) -> None:
        self._pairs: dict[str, Any] = {} if content is None else json.loads(content.decode("utf-8-sig"))
        self._keys = {key.name: key for key in KEYS}
        self.lines: list[str] = []

    def set(self, name: str, value: Any) -> None:
        """Set a key; an existing key keeps its place and its spelling, and so does the object that contains it."""
        group, _, inner = name.rpartition(".")
        pairs = self._pairs
        if group:
            spelling = _spelling(pairs, group)
            pairs[spelling] = pairs.get(spelling) or {}
            pairs = pairs[spelling]
        spelling = _spelling(pairs, inner)
        if spelling in pairs:
            self.lines.append("- " + self._line(name, pairs[spelling]))
        self.lines.append("+ " + self._line(name, value))
        pairs[spelling] = value

    def _line(self, name: str, value: Any) -> str:
        shown = masked(self._keys[name], value)
        return f'"{name}": {json.dumps(shown, ensure_ascii=False)}'

    def data(self) -> bytes:
        text = json.dumps(self._pairs, indent=2, ensure_ascii=False) + "\n"
        return text.encode("utf-8", "backslashreplace")  # an unpaired surrogate is written as a JSON escape


def _spelling(pairs: dict[str, Any], name: str) -> str:
    return next((one for one in pairs if one.lower() == name.lower()), name)
