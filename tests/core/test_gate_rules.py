"""The syntax of gate conditions."""

from __future__ import annotations

import re

import pytest

from mender_client.core.gate_rules import Deadline, FileCondition, GateCommand, GateRules, parse_gate
from mender_client.core.windows import parse_window

NIGHT = "Mon-Fri 22:00-05:00"
CAPACITY = "/sys/class/power_supply/BAT0/capacity"

WRITTEN: dict[str, tuple[list[str], GateRules]] = {
    "nothing": ([], GateRules()),
    "windows": ([NIGHT, "Sat-Sun"], GateRules(windows=(parse_window(NIGHT), parse_window("Sat-Sun")))),
    "an operator": (["ASK"], GateRules(is_asking=True)),
    "a program that decides": (
        ["run /usr/bin/idle --for 5"],
        GateRules(commands=(GateCommand(("/usr/bin/idle", "--for", "5"), may_refuse=True),)),
    ),
    "a program that is true": (
        ["when /usr/bin/on_ac_power"],
        GateRules(commands=(GateCommand(("/usr/bin/on_ac_power",), may_refuse=False),)),
    ),
    "a file": (
        ["when /run/state = not  charging", f"When {CAPACITY} >= 30"],
        GateRules(files=(FileCondition("/run/state", "=", "not charging"), FileCondition(CAPACITY, ">=", "30"))),
    ),
    "a deadline": (["ask", "after 12h fail"], GateRules(is_asking=True, deadline=Deadline(43200, is_failure=True))),
    "another": (["ask", "after 7d go"], GateRules(is_asking=True, deadline=Deadline(604800, is_failure=False))),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_can_be_written(name: str) -> None:
    """Each text is parsed as one condition."""
    texts, expected = WRITTEN[name]
    assert expected == parse_gate(texts)


CHOICES = "must consist of windows such as Mon-Fri 22:00-05:00, ask, when PATH, run PATH and after TIME go|fail; "
WRONG: dict[str, tuple[list[str], str]] = {
    "another word": (["perhaps"], CHOICES + "'perhaps' is none of these"),
    "more than ask": (["ask me"], CHOICES + "'ask me' is none of these"),
    "an empty text": ([""], CHOICES + "'' is none of these"),
    "a wrong window": (["Mon-Fry"], "must have days such as Mon-Fri or Sat,Sun in place of 'Mon-Fry' in 'Mon-Fry'"),
    "no program": (["run"], "must have an absolute path after 'run' in 'run'"),
    "a program without a directory": (["when true"], "must have an absolute path after 'when' in 'when true'"),
    "a file without a directory": (["when state = 1"], "must have an absolute path after 'when' in 'when state = 1'"),
    "no value": (["when /run/state ="], "must have a value after '=' in 'when /run/state ='"),
    "another operator": (
        ["when /run/state == 1"],
        "must have =, !=, >= or <= between blanks in place of '==' in 'when /run/state == 1'",
    ),
    "no blanks": (
        ["when /run/state >=30"],
        "must have =, !=, >= or <= between blanks in place of '>=30' in 'when /run/state >=30'",
    ),
    "no number": (["when /run/state <= low"], "must have a number after '<=' in 'when /run/state <= low'"),
    "no end": (["ask", "after 7d"], "must have a deadline such as 'after 7d go' or 'after 12h fail' in place of "),
    "no unit": (["ask", "after 7 go"], "must have a deadline such as 'after 7d go' or 'after 12h fail' in place of "),
    "two deadlines": (["ask", "after 7d go", "after 8d fail"], 'must not contain "after" twice'),
    "a deadline alone": (["after 7d go"], 'must contain something to wait for besides "after"'),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot(name: str) -> None:
    """The message names the error and shows the correct syntax."""
    texts, expected = WRONG[name]
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}"):
        parse_gate(texts)


HOLDING = [
    ("=", "1", "1\n", True),
    ("=", "1", "11", False),
    ("!=", "Discharging", "Charging\n", True),
    ("!=", "Discharging", "Discharging\n", False),
    (">=", "30", "30\n", True),
    (">=", "30", "9\n", False),
    ("<=", "-0.5", "-1\n", True),
    ("<=", "30", "31.5", False),
    (">=", "30", "", False),
    ("<=", "30", "unknown", False),
]


@pytest.mark.parametrize(("operator", "value", "content", "expected"), HOLDING)
def test_files(operator: str, value: str, content: str, *, expected: bool) -> None:
    """A file's content is compared without surrounding white space; a non-number is neither greater nor less."""
    assert expected is FileCondition("/x", operator, value).holds(content)
