"""The conditions of gates and the time-dependent download rates as JSON Schema; ``timed_kinds`` checks them."""

from __future__ import annotations

from typing import Any

from .kinds import BYTES, TEXT, any_case

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
    """A string that matches the first pattern, with a window that isn't empty, or one of the other patterns."""
    window, *others = patterns
    opens = {"pattern": f"^({window})$", "not": {"pattern": _NEVER_OPENS}}
    return {"allOf": [TEXT.schema(), {"anyOf": [opens, *({"pattern": f"^({other})$"} for other in others)]}]}


def gate_schema() -> Schema:
    """The schema of a condition or a list of conditions."""
    waited_for = _one(_WINDOW, _CONDITION)
    return {
        "anyOf": [
            waited_for,
            {"type": "array", "maxItems": 0},
            {
                "type": "array",
                "items": _one(_WINDOW, _CONDITION, _AFTER),
                "contains": waited_for,
                "allOf": [{"contains": {"pattern": f"^{_AFTER}$"}, "minContains": 0, "maxContains": 1}],
            },
        ]
    }


def speed_schema() -> Schema:
    """The schema of a number of bytes per second, or of a list of windows with rates."""
    return {
        "anyOf": [
            BYTES.schema(),
            {"type": "array", "maxItems": 0},
            {
                "type": "array",
                "items": _one(f"{_WINDOW} +({_RATE}|{_STOP})", _RATE, _STOP),
                "contains": {"pattern": f"(^| )({_RATE})$"},
            },
        ]
    }
