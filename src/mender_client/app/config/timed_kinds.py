"""The kinds of values with windows: the conditions of gates, and download rates by time.

``core.gate_rules`` and ``core.speed`` parse them, and are imported when such a value is given; their JSON Schema is in
``timed_schema``.
"""

from __future__ import annotations

from mender_client import TYPE_CHECKING

from .kinds import BYTES, Kind, check_text, listed, trim_blanks

if TYPE_CHECKING:
    from typing import Any

    Schema = dict[str, Any]


def _gate_schema() -> Schema:
    from .timed_schema import gate_schema

    return gate_schema()


def _speed_schema() -> Schema:
    from .timed_schema import speed_schema

    return speed_schema()


def _gate(value: Any) -> tuple[str, ...]:
    from mender_client.core.gate_rules import parse_gate

    if not isinstance(value, str | list):
        raise ValueError("must be a string or a list of strings")
    texts = (check_text(value),) if isinstance(value, str) else listed("text")(value)
    parse_gate(texts)
    return texts


GATE = Kind(_gate, "condition, or list of conditions", _gate_schema, trim_blanks)


def _speed(value: Any) -> int | tuple[str, ...]:
    if not isinstance(value, list):
        try:
            return BYTES.check(value)  # type: ignore[no-any-return]
        except ValueError as error:
            raise ValueError(f"{error}, or a list of windows with rates") from None
    from mender_client.core.speed import parse_speeds

    texts = listed("text")(value)
    parse_speeds(texts)
    return texts


SPEED = Kind(_speed, f"{BYTES.words}, or list of windows with rates", _speed_schema, trim_blanks)
