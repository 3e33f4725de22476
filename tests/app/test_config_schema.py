"""The JSON Schema of mender.conf agrees with the parser."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mender_client.app.config import ACCEPTED_KEYS, KEYS, RETIRED_KEYS, Key, examine
from mender_client.app.config.schema import build_schema

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

NOWHERE = Path("/nowhere/mender.conf")
NAMES = [*(key.name for key in KEYS), *ACCEPTED_KEYS, *RETIRED_KEYS]


def problems(document: object) -> list[str]:
    """Return the parser's problems with a file that contains the document.

    Values tolerated with a warning count as problems, as in the schema. A missing HttpsClient.Certificate or .Key isn't
    a problem, since the other file may contain it.
    """
    findings = examine(NOWHERE, NOWHERE, is_server_needed=False, instead_of_main=json.dumps(document).encode())
    tolerated = [one for one in findings.warnings if one.code in ("CFG20", "CFG21")]
    found = [*findings.problems, *tolerated]
    return [problem.text for problem in found if "needs HttpsClient." not in problem.text]


@functools.cache
def validator() -> Draft202012Validator:
    """Return a validator for the schema, without the address grammars, which are slow to load and not used here."""
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]  # as if it weren't installed
    try:
        from jsonschema import Draft202012Validator
    finally:
        del sys.modules["rfc3987_syntax"]
    return Draft202012Validator(build_schema())


def agree(document: object) -> bool:
    """Assert that schema and parser agree, and return whether they accept the document."""
    found = problems(document)
    assert validator().is_valid(document) is (found == []), found
    return found == []


def nested(name: str, value: object) -> dict[str, Any]:
    """Return a document with this key."""
    group, _, inner = name.partition(".")
    return {group: {inner: value}} if inner else {name: value}


def test_the_schema_is_one() -> None:
    """The schema is valid according to its draft."""
    validator().check_schema(build_schema())


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_defaults_and_examples(key: Key) -> None:
    """Both accept the default and the example of every key; a key whose default is empty has an example."""
    assert agree(nested(key.name, list(key.default) if isinstance(key.default, tuple) else key.default))
    assert key.default not in ("", ()) or key.example is not None
    if key.example is not None:
        assert agree(nested(key.name, key.example))


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
@pytest.mark.parametrize("change", [str.upper, str.lower], ids=["upper", "lower"])
def test_other_case(key: Key, change: Any) -> None:
    """Both refuse a wrong value whatever the case of the key."""
    assert not agree(nested(change(key.name), {"not": "a value"}))


# without numbers such as 5.0, which are integers in JSON Schema but not for the parser
_FRACTIONS = st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer())
_WORDS = st.sampled_from(
    ["", "/a", "debug", "INFO", "List", "plain", "a\nb", "info\n", "http://a", "https://a/\n", "\x7f", "gr\u00fcn"]
)
_PART = st.sampled_from(
    ["http", "HTTPS", "ftp", "://", ":", "/", "a", "a.example", "[::1]", "[", "]", "@", "?", "#", " ", "65535", "65536",
     "99999", "0", "%41", "\\", "\u00fc", "_", "-", "//", "."]
)  # fmt: skip
_ADDRESSES = st.lists(_PART, max_size=6).map("".join) | st.lists(_PART, max_size=4).map(
    lambda parts: "http://" + "".join(parts)
)
_SCALARS = st.none() | st.booleans() | st.integers(-2, 10**16) | _FRACTIONS | st.text(max_size=8) | _WORDS | _ADDRESSES
_SERVER = st.dictionaries(st.sampled_from(["ServerURL", "serverurl", "x"]), _SCALARS, max_size=1)
_VALUES = st.recursive(
    _SCALARS | st.lists(_SERVER, max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
_TOP = st.sampled_from(sorted({name.partition(".")[0] for name in NAMES}))
_INNER = st.sampled_from([name.partition(".")[2] for name in NAMES if "." in name])
_CASED = _TOP | _TOP.map(str.upper) | _TOP.map(str.lower)


def _is_unique(document: dict[str, Any]) -> bool:
    # a schema can't express that a key must not be given twice in different case
    return all(
        len({name.lower() for name in one}) == len(one)
        for one in (document, *(inner for inner in document.values() if isinstance(inner, dict)))
    )


@given(
    st.dictionaries(
        _CASED | st.text(max_size=5), _VALUES | st.dictionaries(_INNER, _VALUES, max_size=3), max_size=3
    ).filter(_is_unique)
)
@example({"ServerURL": "https://a", "servers": [{"ServerURL": "https://b"}]})
@example({"ServerURL": "", "servers": [{"ServerURL": "https://b", "x": 5}]})
@example({"ServerURL": "https://a", "Servers": []})
@example({"ArtifactVerifyKey": "/a", "ARTIFACTVERIFYKEYS": ["/b"]})
@example({"Servers": [{"ServerURL": ""}]})
@example({"Servers": [{}]})
@example({"ServerURL": "http://[::1%eth0]:8080/a?"})
@example({"ServerURL": "http://a:65536"})
@example({"ServerURL": "http://u@a"})
@example({"HttpsClient": {"key": 5}})
@example({"HttpsClient.Key": 5})
@example({"httpsclient": 5})
@example({"httpsclient": None})
@example({"ServerURL": " http://a"})
@example({"DaemonLogLevel": "info "})
@example({"updategates": {"instal": "ask"}})
@example({"UpdateGates": {"INSTALL": "ask"}})
@example({"UpdateGates.Install": "ask"})
@example({"Updategates": None})
def test_schema_and_parser_agree(document: dict[str, Any]) -> None:
    """Schema and parser accept the same documents."""
    agree(document)


_WINDOW_PARTS = [
    "Mon", "fri", "Sat-Sun", "Mon,Wed-Fri", "Mo", "Mon-", "22:00-05:00", "05:00-05:00", "00:00-24:00", "24:00-01:00",
    "9:00-10:00", "05:60-06:00", "UTC", "Europe/Berlin", "/", "Etc/GMT+1", "2", "",
]  # fmt: skip
_GATE_PARTS = [
    *_WINDOW_PARTS, "ask", "ASK", "run", "when", "When", "after", "/usr/bin/gate", "--x", "=", "!=", ">=", "<=", "30",
    "-0.5", "low", "7d", "12h", "0d", "90m", "go", "fail", "Go",
]  # fmt: skip


def _texts_of(parts: list[str]) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(parts), max_size=5).map(" ".join)


@given(_texts_of(_GATE_PARTS) | st.lists(_texts_of(_GATE_PARTS), max_size=3))
@example("Mon-Fri 22:00-05:00 Europe/Berlin")
@example("when /usr/bin/gate = ")
@example("when /usr/bin/gate =")
@example("when /usr/bin/gate =1")
@example("when /usr/bin/gate > 1")
@example("when /usr/bin/gate x = y")
@example("when /usr/bin/gate >= 30 x")
@example(["after 7d go"])
@example(["ask", "after 7d go", "after 12h fail"])
@example(["run /usr/bin/gate 05:00-05:00"])
@example("05:00-05:00 UTC")
def test_gates(value: object) -> None:
    """Schema and parser agree about gates: windows, approvals, programs, files and deadlines."""
    agree({"UpdateGates": {"Install": value}})


_SPEED_PARTS = [*_WINDOW_PARTS, "65536", "0", "unlimited", "Stop", "stop", "1e6", "1000000000000000"]


@given(st.lists(_texts_of(_SPEED_PARTS), max_size=3))
@example(["22:00-05:00 unlimited", "08:00-18:00 Europe/Berlin 65536", "stop"])
@example(["Mon stop", "stop"])
@example(["stop", "Mon 05:00-05:00 65536"])
@example(["Mon 0"])
def test_speeds(value: object) -> None:
    """Schema and parser agree about speed limits by time of day."""
    agree({"DownloadSpeedLimit": value})


def test_a_file_is_an_object() -> None:
    """Both refuse a document that isn't an object."""
    documents: list[object] = [[], "x", 5, None]
    assert not any(agree(document) for document in documents)
