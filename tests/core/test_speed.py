"""Download speed limits by time of day."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import pytest

from mender_client.core.speed import STOPPED, Speed, SpeedRule, find_speed, parse_speeds
from mender_client.core.windows import parse_window


def at(text: str) -> datetime:
    """A time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def test_what_can_be_written() -> None:
    """A limit has a rate and a window; without a window it always applies."""
    expected = (
        SpeedRule(parse_window("Mon-Fri 08:00-18:00 Europe/Berlin"), Speed(bytes_per_second=65536)),
        SpeedRule(parse_window("Sat"), STOPPED),
        SpeedRule(None, Speed()),
    )
    assert expected == parse_speeds(["Mon-Fri 08:00-18:00 Europe/Berlin 65536", "Sat STOP", "unlimited"])


WRONG = {
    "no rate": (["22:00-05:00"], "must have bytes per second, unlimited or stop at the end of '22:00-05:00'"),
    "a rate of nothing": (["Mon 0"], "must have bytes per second, unlimited or stop at the end of 'Mon 0'"),
    "a wrong window": (["Mo 1000"], "must have days such as Mon-Fri or Sat,Sun in place of 'Mo' in 'Mo'"),
    "nothing ever": (["Mon stop", "stop"], 'must contain a rate besides "stop": nothing would ever be downloaded'),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot(name: str) -> None:
    """The message names the error and shows the correct syntax."""
    texts, expected = WRONG[name]
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        parse_speeds(texts)


DAY, NIGHT = "08:00-18:00 1000", "22:00-05:00 unlimited"
FOUND = {
    "in the first": ([DAY, NIGHT], "2026-11-28 12:00", (Speed(bytes_per_second=1000), at("2026-11-28 18:00"))),
    "in the second": ([DAY, NIGHT], "2026-11-28 23:00", (Speed(), at("2026-11-29 05:00"))),
    "in none": ([DAY, NIGHT], "2026-11-28 20:00", (STOPPED, at("2026-11-28 22:00"))),
    "until an earlier one opens": (
        ["12:30-13:00 stop", DAY], "2026-11-28 12:00", (Speed(bytes_per_second=1000), at("2026-11-28 12:30"))
    ),
    "in the rest": ([DAY, "500"], "2026-11-28 20:00", (Speed(bytes_per_second=500), at("2026-11-29 08:00"))),
    "always": (["500"], "2026-11-28 20:00", (Speed(bytes_per_second=500), None)),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_which_rate_holds(name: str) -> None:
    """The first rate whose window is open applies, until it closes or the window of an earlier one opens."""
    texts, now, expected = FOUND[name]
    assert expected == find_speed(parse_speeds(texts), lambda _: ZoneInfo("UTC"), at(now))
