"""key=value text, as printed by scripts and stored in files."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mender_client.core.keyvalue import KeyValues, group_by_key, parse_key_values

TEXTS: dict[str, tuple[str, tuple[tuple[str, str], ...], tuple[str, ...]]] = {
    "nothing": ("", (), ()),
    "one line": ("mac=02:00\n", (("mac", "02:00"),), ()),
    "no line end": ("mac=02:00", (("mac", "02:00"),), ()),
    "blank lines": ("\n  \na=1\n\n", (("a", "1"),), ()),
    "windows line ends": ("a=1\r\nb=2\r\n", (("a", "1"), ("b", "2")), ()),
    "only the first equals sign divides": ("a=b=c\n", (("a", "b=c"),), ()),
    "an empty value is a value": ("a=\n", (("a", ""),), ()),
    "spaces of the value stay": ("a= 1 \n", (("a", " 1 "),), ()),
    "a repeated key": ("a=1\nb=2\na=3\n", (("a", "1"), ("b", "2"), ("a", "3")), ()),
    "no equals sign": ("usage: me\na=1\n", (("a", "1"),), ("usage: me",)),
    "no key": ("=1\n  =2\na=1\n", (("a", "1"),), ("=1", "  =2")),
    "other line separators are part of a value": ("a=1\x0b\u20282\n", (("a", "1\x0b\u20282"),), ()),
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_becomes_pairs(name: str) -> None:
    """Each line is split at its first equals sign; malformed lines are returned separately, to be reported."""
    text, pairs, malformed = TEXTS[name]
    assert KeyValues(pairs, malformed) == parse_key_values(text)


def test_grouping_keeps_order() -> None:
    """The values of a repeated key are collected in order, and keys stay in order of first appearance."""
    pairs = [("b", "1"), ("a", "2"), ("b", "3")]
    assert [("b", ("1", "3")), ("a", ("2",))] == list(group_by_key(pairs).items())


_KEYS = st.text(st.characters(exclude_characters="=\n\r", exclude_categories=["Cs"]), min_size=1).filter(str.strip)
_VALUES = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]))


@given(st.lists(st.tuples(_KEYS, _VALUES)))
def test_pairs_survive(pairs: list[tuple[str, str]]) -> None:
    """Keys and values survive unchanged, whatever they contain: an identity must not change by as much as a space."""
    text = "".join(f"{key}={value}\n" for key, value in pairs)
    assert KeyValues(tuple(pairs), ()) == parse_key_values(text)


@given(st.text())
def test_no_text_is_lost(text: str) -> None:
    """Every non-blank line becomes a pair or a malformed line."""
    parsed = parse_key_values(text)
    lines = [line for line in text.split("\n") if line.rstrip("\r").strip()]
    assert len(lines) == len(parsed.pairs) + len(parsed.malformed)


def test_one_key_a_hundred_thousand_times() -> None:
    """Grouping takes time linear, not quadratic, in the size of the text."""
    begin = time.process_time()
    assert 100_000 == len(group_by_key([("ip", "1")] * 100_000)["ip"])
    assert time.process_time() - begin < 2
