"""The kinds of values that speak of windows: the conditions of gates, and speeds by the clock.

``core.gate_rules`` and ``core.speed`` read them, and are imported when such a value is given; the expressions here say
the same as JSON Schema.
"""

from __future__ import annotations

from mender_client import TYPE_CHECKING

from .kinds import BYTES, TEXT, Kind, any_case, check_text, listed, trim_blanks

if TYPE_CHECKING:
    from typing import Any

    Schema = dict[str, Any]

_DAY = "|".join(any_case(day) for day in ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"))
_DAYS = f"({_DAY})(-({_DAY}))?(,({_DAY})(-({_DAY}))?)*"
_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]"
_TIMES = f"{_TIME}-({_TIME}|24:00)"
_ZONE = "[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*"
_WINDOW = f"({_DAYS}( +{_TIMES})?|{_TIMES})( +{_ZONE})?"
_NEVER_OPENS = r"(?:^| )([0-9]{2}:[0-9]{2})-\1(?: |$)"

_REST = "( +[^ ]+)*"
_PROGRAM = f"/[^ ]*( +[^ =!<>][^ ]*{_REST})?"
_NUMBER = r"-?[0-9]+(\.[0-9]+)?"
_FILE = rf"/[^ ]* +((=|!=) +[^ ]+{_REST}|(>=|<=) +{_NUMBER})"
_AFTER = f"{any_case('after')} +[1-9][0-9]{{0,3}}[mhd] +({any_case('go')}|{any_case('fail')})"
_CONDITION = f"{any_case('ask')}|{any_case('run')} +/[^ ]*{_REST}|{any_case('when')} +({_PROGRAM}|{_FILE})"
_RATE = f"[1-9][0-9]{{0,14}}|{any_case('unlimited')}"
_STOP = any_case("stop")


def _one(*patterns: str) -> Schema:
    """A text that is a window that opens with something around it, or fits one of the other patterns."""
    window, *others = patterns
    opens = {"pattern": f"^({window})$", "not": {"pattern": _NEVER_OPENS}}
    return {"allOf": [TEXT.schema, {"anyOf": [opens, *({"pattern": f"^({other})$"} for other in others)]}]}


_WAITED_FOR = _one(_WINDOW, _CONDITION)
_GATE_SCHEMA: Schema = {
    "anyOf": [
        _WAITED_FOR,
        {"type": "array", "maxItems": 0},
        {
            "type": "array",
            "items": _one(_WINDOW, _CONDITION, _AFTER),
            "contains": _WAITED_FOR,
            "allOf": [{"contains": {"pattern": f"^{_AFTER}$"}, "minContains": 0, "maxContains": 1}],
        },
    ]
}


def _gate(value: Any) -> tuple[str, ...]:
    from mender_client.core.gate_rules import parse_gate

    if not isinstance(value, str | list):
        raise ValueError("must be a text or a list of texts")
    texts = (check_text(value),) if isinstance(value, str) else listed("text")(value)
    parse_gate(texts)
    return texts


GATE = Kind(_gate, "condition, or list of conditions", _GATE_SCHEMA, trim_blanks)

_SPEED_SCHEMA: Schema = {
    "anyOf": [
        BYTES.schema,
        {"type": "array", "maxItems": 0},
        {
            "type": "array",
            "items": _one(f"{_WINDOW} +({_RATE}|{_STOP})", _RATE, _STOP),
            "contains": {"pattern": f"(^| )({_RATE})$"},
        },
    ]
}


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


SPEED = Kind(_speed, f"{BYTES.words}, or list of windows with rates", _SPEED_SCHEMA, trim_blanks)
