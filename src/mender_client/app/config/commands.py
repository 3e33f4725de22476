"""``config check``, ``show`` and ``explain``: check, print and explain the configuration."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from mender_client import TYPE_CHECKING
from mender_client.app.exitcodes import ExitCode
from mender_client.app.paths import Paths
from mender_client.core.text import printable
from mender_client.dataclass import replace
from mender_client.errors import Diagnostic

from .connect_keys import CONNECT_KEYS, ConnectConfig, build_connect, examine_connect
from .keys import ACCEPTED_KEYS, RETIRED_KEYS, Key
from .kinds import SECRET
from .reader import ConfigFindings, examine, suggest
from .settings import KEYS, Config, build_config

if TYPE_CHECKING:
    from typing import Any

MASK = "(secret)"
_DEFAULT = "default"
_Faults = tuple[Sequence[Diagnostic], Sequence[Diagnostic]]
_PIN = re.compile(r"(pin-value=)[^;&?]*", re.IGNORECASE)


def check(
    main: Path,
    fallback: Path,
    *,
    is_json: bool,
    connect: tuple[Path, Path] | None = None,
    file_problems: Sequence[Diagnostic] = (),
    find_faults: Callable[[Config], _Faults] = lambda _: ((), ()),
    find_connect_faults: Callable[[ConnectConfig], _Faults] = lambda _: ((), ()),
) -> ExitCode:
    """Print the errors and warnings of the two files, which may be the same file.

    Args:
        main, fallback: the two files ``mender.conf``.
        is_json: print JSON.
        connect: the two files ``mender-connect.conf``, which may be missing; None to check only ``mender.conf``.
        file_problems: further errors: who could have written the files.
        find_faults: finds settings that can't work on this device; called if the files have no errors; returns errors
            and warnings.
        find_connect_faults: the same for ``mender-connect.conf``.

    Returns:
        CONFIGURATION when a client would refuse to start with these files.
    """
    findings = examine(main, fallback)
    if not findings.problems:
        findings = _with(findings, find_faults(build_config(findings.values)))
    findings = _with(findings, (file_problems, ()))
    files = [main, fallback]
    if connect is not None:
        present = [file for file in connect if os.path.exists(file)]
        found = examine_connect(*connect)
        if present and not found.problems:
            found = _with(found, find_connect_faults(build_connect(found.values)))
        findings = _joined(findings, found)
        files += present
    return _tell(findings, files, is_json=is_json)


def check_connect(file: Path, *, is_json: bool) -> ExitCode:
    """Print the errors and warnings of one file ``mender-connect.conf``, as ``check`` does."""
    return _tell(examine_connect(file, file), [file], is_json=is_json)


def _with(findings: ConfigFindings, faults: _Faults) -> ConfigFindings:
    problems, warnings = faults
    return replace(findings, problems=(*findings.problems, *problems), warnings=(*findings.warnings, *warnings))


def _joined(one: ConfigFindings, other: ConfigFindings) -> ConfigFindings:
    return ConfigFindings(
        one.values,
        one.origins,
        (*one.problems, *other.problems),
        (*one.warnings, *other.warnings),
        (*one.ignored, *other.ignored),
    )


def _tell(findings: ConfigFindings, files: Sequence[Path], *, is_json: bool) -> ExitCode:
    if is_json:
        problems, warnings = map(str, findings.problems), map(str, findings.warnings)
        print(json.dumps({"problems": [*problems], "warnings": [*warnings]}, indent=1))
    else:
        print("\n".join(_report(findings, dict.fromkeys(files))))
    return ExitCode.CONFIGURATION if findings.problems else ExitCode.DONE


def _report(findings: ConfigFindings, files: Iterable[Path]) -> Iterator[str]:
    yield from (f"error: {problem}" for problem in findings.problems)
    yield from (f"warning: {warning}" for warning in findings.warnings)
    if findings.ignored:
        yield f"note: accepted without effect: {printable(', '.join(findings.ignored))}"
    errors, warnings = len(findings.problems), len(findings.warnings)
    names = " and ".join(map(str, files))
    yield f"{names}: {errors or 'no'} error{'s' * (errors != 1)}, {warnings or 'no'} warning{'s' * (warnings != 1)}"


def show(
    paths: Paths, *, overrides: Mapping[str, tuple[str, Any]], is_json: bool, is_changed_only: bool = False
) -> ExitCode:
    """Print the merged configuration with the origin of each value; errors go to standard error.

    Args:
        paths: the device's files.
        overrides: the settings of the command line, which take precedence: option and value, by key.
        is_json: print JSON.
        is_changed_only: leave out keys that have their default.

    Returns:
        CONFIGURATION when the files have errors.
    """
    findings = examine(paths.config, paths.fallback_config)
    values = merged(findings, overrides)
    if is_changed_only:
        values = {name: shown for name, shown in values.items() if shown[1] != _DEFAULT}
    if is_json:
        listed = {name: {"value": value, "origin": origin} for name, (value, origin) in values.items()}
        print(json.dumps(listed, indent=1))
    else:
        rows = [(name, printable(_json(value)), origin) for name, (value, origin) in values.items()]
        widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
        for name, value, origin in rows:
            print(f"{name:{widths[0]}}  {value:{min(widths[1], 40)}}  {origin}")
    for problem in findings.problems:
        print(f"error: {problem}", file=sys.stderr)
    return ExitCode.CONFIGURATION if findings.problems else ExitCode.DONE


def merged(findings: ConfigFindings, overrides: Mapping[str, tuple[str, Any]]) -> dict[str, tuple[Any, str]]:
    """By key, the value in effect, masked if it is secret, and the file or option that it comes from."""
    shown = {}
    for key in KEYS:
        if key.name in overrides:
            origin, value = overrides[key.name]
        else:
            value = findings.values.get(key.name, key.default)
            origin = str(findings.origins.get(key.name, _DEFAULT))
        shown[key.name] = (masked(key, value), origin)
    return shown


def masked(key: Key, value: Any) -> Any:
    """The value of a key in the form in which it is written, with secrets masked."""
    if key.kind is SECRET:
        return MASK if value else value
    if key.name == "Servers":
        return [{"ServerURL": url} for url in value]
    return _PIN.sub(rf"\1{MASK}", value) if isinstance(value, str) else value


def explain(names: Sequence[str]) -> ExitCode:
    """Explain keys; the name of an object stands for all keys in it.

    Returns:
        USAGE when one of them is unknown.
    """
    without_effect = {name.lower(): name for name in (*CONNECT_KEYS.silent, *ACCEPTED_KEYS, *RETIRED_KEYS)}
    parts, unknown = [], list[Diagnostic]()
    for name in names or [""]:
        found = [(key, "") for key in _named(KEYS, name)]
        found += [(key, "mender-connect.conf") for key in _named(CONNECT_KEYS.keys, name)]
        if found:
            parts += ["\n".join(_explanation(key, file)) for key, file in found]
        elif name.lower() in without_effect:
            parts.append(f"{without_effect[name.lower()]}\n  Used by other Mender clients; has no effect here.")
        else:
            unknown.append(unknown_key(name, "explain"))
    if parts:
        print("\n\n".join(parts))
    for message in unknown:
        print(message, file=sys.stderr)
    return ExitCode.USAGE if unknown else ExitCode.DONE


def _named(keys: Iterable[Key], name: str) -> list[Key]:
    """The key with this name, or the keys in the object with this name; all keys for an empty name."""
    lower = name.lower()
    return [key for key in keys if not name or key.name.lower() == lower or key.name.lower().startswith(f"{lower}.")]


def find_key(name: str) -> Key | None:
    """The key with this name, which is not case-sensitive."""
    return next((key for key in KEYS if key.name.lower() == name.lower()), None)


def unknown_key(name: str, action: str) -> Diagnostic:
    """The message that an action is impossible because there is no such key."""
    close = suggest(name)
    remedy = f"did you mean {close!r}?" if close else "list all keys with 'config explain'"
    return Diagnostic("USE01", f"cannot {action} {name!r:.80}: there is no such key", remedy)


def _explanation(key: Key, file: str = "") -> Iterator[str]:
    yield key.name
    yield f"  {key.help}"
    if file:
        yield f"  file     {file}"
    yield "  value    " + ": ".join(dict.fromkeys((key.kind.words, key.form)))
    yield "  default  " + ("none" if key.default in ("", ()) else _json(key.default))
    yield "  example  " + _as_written(key.name, key.default if key.example is None else key.example)


def _as_written(name: str, value: Any) -> str:
    group, _, inner = name.partition(".")
    return f'"{group}": {{{_as_written(inner, value)}}}' if inner else f'"{name}": {_json(value)}'


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
