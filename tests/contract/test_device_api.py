"""The device API is replayed line by line: the dev server must answer as the real server did."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from contract.scenes import AFTER, BEFORE, scene_of
from contract.stage import Line, Stage
from devserver.caller import Answer, calling
from mender_devserver import DevServer

RECORDING = Path(__file__).with_name("device-api.jsonl")

NOT_REPRODUCED: Mapping[str, str] = {}
"""Lines that the dev server answers differently from the real one, and why."""

_GO_SYNTAX = "where Go's JSON decoder stops in broken text, and how it says so"
_GO_TYPES = "Go's JSON decoder names its own types"
WORDS: Mapping[str, str] = {
    "A5": _GO_SYNTAX,
    "A9": _GO_TYPES,
    "A11": _GO_TYPES,
    "C13": _GO_TYPES,
    "C14": _GO_SYNTAX,
    "F7 status 5": _GO_TYPES,
    "G5": "how Go says what it can't find in a time",
}
"""Error messages that differ after the part written by the service itself, and why."""

_DECODER = re.compile(r"(invalid character|json: |parsing time|EOF).*")
_VOLATILE = ("etag", "last-modified", "content-length", "retry-after", "x-content-type-options")


@dataclass
class Played:
    """The results of replaying the recording.

    Args:
        titles: the lines' titles by name, in order.
        different: the differences, for lines with different answers.
        words: both error messages, for lines where they differ.
        meaning: the server's state, for lines after which it isn't what the title says.
    """

    titles: dict[str, str] = field(default_factory=dict)
    different: dict[str, list[str]] = field(default_factory=dict)
    words: dict[str, list[str]] = field(default_factory=dict)
    meaning: dict[str, object] = field(default_factory=dict)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """The results of replaying the whole recording once."""
    lines: list[Line] = [json.loads(text) for text in RECORDING.read_text().splitlines()]
    directory = tmp_path_factory.mktemp("contract")
    result = Played()
    with DevServer(directory) as server, calling(server.certificate) as caller:
        stage = Stage(server, caller, directory, lines)
        for line in lines:
            _play(stage, line, result)
    return result


def _play(stage: Stage, line: Line, result: Played) -> None:
    name = scene_of(line)
    key = name if name not in result.titles else line["title"]
    result.titles[key] = line["title"]
    if name in BEFORE:
        BEFORE[name](stage)
    answer = stage.play(line)
    if differences := list(_differences(line, answer)):
        result.different[key] = differences
    if words := _other_words(line, answer):
        result.words[key] = words
    if name in AFTER:
        look, expected = AFTER[name]
        if (seen := look(stage)) != expected:
            result.meaning[key] = seen


def _differences(line: Line, answer: Answer) -> Iterator[str]:
    recorded = line["response"]
    if recorded["status"] != answer.status:
        yield f"status: {recorded['status']} != {answer.status}"
        return
    headers = {name.lower(): value for name, value in recorded["headers"].items()}
    yield from _header_differences(headers, answer)
    yield from _body_differences(headers, recorded["body"], line, answer)


def _header_differences(headers: Mapping[str, str], answer: Answer) -> Iterator[str]:
    for name, value in headers.items():
        ours = answer.headers.get(name)
        if ours is None:
            if name != "x-content-type-options":
                yield f"{name}: missing"
        elif name == "content-type":
            if _media_type(value) != _media_type(ours):
                yield f"{name}: {value} != {ours}"
        elif name not in _VOLATILE and value != ours:
            yield f"{name}: {value} != {ours}"
    if "retry-after" in headers and not 1 <= int(answer.headers["retry-after"]) <= 20:
        yield f"retry-after: {answer.headers['retry-after']}"


def _body_differences(headers: Mapping[str, str], body: str, line: Line, answer: Answer) -> Iterator[str]:
    kind = _media_type(headers.get("content-type", ""))
    if kind == "application/json" and line["request"]["method"] != "HEAD":
        recorded, ours = json.loads(body), answer.json
        if _shape(recorded) != _shape(ours):
            yield f"shape: {_shape(recorded)} != {_shape(ours)}"
        if "error" in recorded and _own_words(recorded["error"]) != _own_words(ours["error"]):
            yield f"error: {recorded['error']} != {ours['error']}"
        if "artifact" in recorded:
            yield from _offer_differences(recorded["artifact"], ours["artifact"])
    elif kind == "application/xml":
        if _xml_words(body) != _xml_words(answer.body.decode()):
            yield f"xml: {body} != {answer.body.decode()}"
    elif kind == "application/jwt":
        ours_parts = answer.body.decode().split(".")
        if [len(part) for part in ours_parts] != [len(part) for part in body.split(".")]:
            yield f"token: lengths {[len(part) for part in ours_parts]}"
    elif kind == "application/vnd.mender-artifact":
        if headers["content-length"] != str(len(answer.body)):
            yield f"length: {headers['content-length']} != {len(answer.body)}"
    elif body.strip() != answer.body.decode().strip():
        yield f"body: {body!r} != {answer.body!r}"


def _offer_differences(recorded: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    for name in ("artifact_name", "device_types_compatible"):
        if recorded[name] != ours[name]:
            yield f"{name}: {recorded[name]} != {ours[name]}"
    life = re.compile(r"X-Amz-Expires=(\d+)")
    if life.findall(recorded["source"]["uri"]) != life.findall(ours["source"]["uri"]):
        yield "the life of the link"


def _other_words(line: Line, answer: Answer) -> list[str]:
    recorded = line["response"]
    if not recorded["body"].startswith('{"error"') or recorded["status"] != answer.status:
        return []
    words = [json.loads(recorded["body"])["error"], answer.error]
    return words if words[0] != words[1] else []


def _own_words(error: str) -> str:
    return _DECODER.sub("<decoder>", error)


def _media_type(value: str) -> str:
    message = Message()
    message["Content-Type"] = value or "none/none"
    return message.get_content_type()


def _shape(value: object) -> object:
    if isinstance(value, dict):
        return {name: _shape(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_shape(one) for one in value]
    return type(value).__name__


def _xml_words(text: str) -> list[str]:
    return re.findall(r"<(?:Code|Message|BucketName)>[^<]*|<\w+>", text)


def test_every_line_is_answered_as_recorded(played: Played) -> None:
    """Status, headers, shape and meaning of every answer are as recorded, except for the lines listed as exceptions."""
    unlisted = {name: found for name, found in played.different.items() if name not in NOT_REPRODUCED}
    assert unlisted == {}


def test_list_of_lines_not_reproduced_is_fresh(played: Played) -> None:
    """Every line listed as not reproduced really differs."""
    assert set(NOT_REPRODUCED) - set(played.different) == set()


def test_refusals_use_the_servers_own_words(played: Played) -> None:
    """Error messages equal the real server's, except for the JSON decoder's part on the listed lines."""
    assert set(WORDS) == set(played.words)


def test_state_after_each_line_is_what_the_title_says(played: Played) -> None:
    """Each line has the recorded effect on devices, inventory, deployments and logs."""
    assert played.meaning == {}


def test_whole_recording_is_played(played: Played) -> None:
    """Every line of the recording is replayed, and every prepared scene belongs to a line."""
    assert len(RECORDING.read_text().splitlines()) == len(played.titles)
    assert (set(BEFORE) | set(AFTER)) - set(played.titles) == set()
