"""Configuration deployments are replayed line by line from a recording of the real server."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from devserver.caller import Answer, Caller, Gadget, calling
from mender_client.core.artifact import ArtifactReader
from mender_client.errors import ServerError
from mender_devserver import DevServer
from mender_devserver.views import deployment_json

RECORDING = Path(__file__).with_name("configuration.jsonl")
LINES = [json.loads(text) for text in RECORDING.read_text().splitlines()]
_LINK = re.compile(
    r".*/(?P<id>[^/]+)/(?P<type>[^/]+)/[^/?]+\?x-men-expire=(?P<expire>[^&]+)&x-men-signature=(?P<sign>.+)"
)

Line = Mapping[str, Any]


class Play:
    """Replays the recording with our own ids and links, and yields the differences.

    Args:
        server: a new dev server.
        caller: the HTTP client for the requests.
    """

    def __init__(self, server: DevServer, caller: Caller) -> None:
        self._server = server
        self._gadget = Gadget(caller, server.url)
        self._gadget.authorize()
        self._device_id = server.devices()[0].id
        self._wanted: dict[str, str] = {}
        self._ids: dict[str, str] = {}
        self._links: dict[str, tuple[re.Match[str], str]] = {}
        self._artifact = b""

    def run(self) -> Iterator[str]:
        """Replay all lines, aborting unfinished deployments between two sessions; yield the differences."""
        session = ""
        for line in LINES:
            if line["s"] != session:
                session = line["s"]
                for one in self._server.deployments():
                    if one.status != "finished":
                        self._server.abort(one.id)
            yield from (f"{session}: {line.get('method')} {line.get('path')}: {text}" for text in self._line(line))

    def _line(self, line: Line) -> Iterator[str]:
        if line["leg"] == "note":
            yield from self._compare_members(line.get("artifact", ()))
        elif line["leg"] == "user":
            yield from self._manage(line)
        elif line["path"].endswith("/next"):
            answer = self._gadget.call("POST", line["path"], json.loads(self._ours(line["req_body"])))
            yield from self._compare_offer(line, answer)
        elif line["path"].endswith("/status"):
            answer = self._gadget.call("PUT", self._ours(line["path"]), json.loads(line["req_body"]))
            yield from self._compare(line, answer)
        else:
            headers = {"Range": "bytes=10-19"} if "Range" in line.get("note", "") else {}
            answer = self._gadget.caller.call(line["method"], self._link(line["path"]), b"", headers)
            yield from self._compare(line, answer)
            self._artifact = answer.body if answer.status == 200 else self._artifact

    def _ours(self, text: str) -> str:
        for recorded, ours in self._ids.items():
            text = text.replace(recorded, ours)
        return text

    def _link(self, path: str) -> str:
        """Return our link, altered in the same way as the recorded one."""
        sent = _LINK.fullmatch(path)
        assert sent is not None
        first, link = self._links[sent["id"]]
        for part in ("type", "expire"):
            if sent[part] != first[part]:
                ours = _LINK.fullmatch(link)
                assert ours is not None
                link = link.replace(ours[part], sent[part])
        return link if sent["sign"] == first["sign"] else f"{link[:-3]}abc"

    def _manage(self, line: Line) -> Iterator[str]:
        if line["method"] == "PUT":
            self._wanted = json.loads(line["req_body"])
        elif line["method"] == "POST":
            self._ids[json.loads(line["body"])["deployment_id"]] = self._server.configure(self._device_id, self._wanted)
        else:
            deployment_id = self._ours(line["path"].split("/")[-3])
            (ours,) = (one for one in self._server.deployments() if one.id == deployment_id)
            recorded = [(one["status"], one["log"]) for one in json.loads(line["body"])]
            listed = [(one["status"], one["has_log"]) for one in deployment_json(ours)["devices"]]
            if recorded != listed:
                yield f"devices: {recorded} != {listed}"

    def _compare_offer(self, line: Line, answer: Answer) -> Iterator[str]:
        yield from self._compare(line, answer)
        if line["status"] != 200:
            return
        recorded, ours = json.loads(line["body"]), answer.json
        uri = recorded["artifact"]["source"]["uri"]
        first = _LINK.fullmatch(urlsplit(uri).path + "?" + urlsplit(uri).query)
        assert first is not None
        self._links[first["id"]] = (first, ours["artifact"]["source"]["uri"])
        names = ("artifact_name", "device_types_compatible")
        for name in names:
            if self._ours(json.dumps(recorded["artifact"][name])) != json.dumps(ours["artifact"][name]):
                yield f"{name}: {ours['artifact'][name]}"
        if ours["artifact"]["id"] != ours["id"] + self._device_id:
            yield f"id: {ours['artifact']['id']}"
        if [list(recorded), list(recorded["artifact"]), list(recorded["artifact"]["source"])] != [
            list(ours),
            list(ours["artifact"]),
            list(ours["artifact"]["source"]),
        ]:
            yield f"shape: {ours}"

    @staticmethod
    def _compare(line: Line, answer: Answer) -> Iterator[str]:
        if line["status"] != answer.status:
            yield f"status: {line['status']} != {answer.status}"
        for name in ("content-type", "content-disposition"):
            if line["resp_headers"].get(name, answer.headers.get(name)) != answer.headers.get(name):
                yield f"{name}: {answer.headers.get(name)}"
        if line.get("body_len", len(answer.body)) != len(answer.body):
            yield f"length: {line['body_len']} != {len(answer.body)}"
        if line["status"] >= 400 and line["body"] and json.loads(line["body"])["error"] != answer.error:
            yield f"error: {line['body']} != {answer.error}"
        if line["method"] == "HEAD" and line["resp_headers"]["content-length"] != answer.headers["content-length"]:
            yield f"content-length: {answer.headers['content-length']}"

    def _compare_members(self, members: list[Mapping[str, Any]]) -> Iterator[str]:
        if not members:
            return
        recorded = [(self._ours(one["name"]), self._texts(one)) for one in members]
        if recorded != (ours := list(_members(self._artifact))):
            yield f"Artifact: {recorded} != {ours}"

    def _texts(self, member: Mapping[str, Any]) -> object:
        """Return the parts of a recorded member, parsed if they are JSON, without digests, which depend on the rest."""
        if "members" in member:
            return [(one["name"], _value(self._ours(one["text"]))) for one in member["members"]]
        return _value(self._ours(member["text"]))


def _members(artifact: bytes) -> Iterator[tuple[str, object]]:
    with tarfile.open(fileobj=io.BytesIO(artifact)) as outer:
        for one in outer:
            content = _read(outer, one)
            if not one.name.endswith(".tar"):
                yield one.name, _value(content.decode())
                continue
            with tarfile.open(fileobj=io.BytesIO(content)) as inner:
                yield one.name, [(part.name, _value(_read(inner, part).decode())) for part in inner]


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None
    return file.read()


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return re.sub("[0-9a-f]{64}", "DIGEST", text)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DevServer]:
    """A server that accepts devices automatically."""
    with DevServer(tmp_path / "server", tls=False, auto_accept=True) as running:
        yield running


def test_configuration_deployments_are_answered_as_recorded(server: DevServer) -> None:
    """Offers, links, Artifacts, refusals and device lists are the same as in the recording."""
    with calling() as caller:
        assert [] == list(Play(server, caller).run())


def test_configuration_is_an_artifact_for_the_client(server: DevServer) -> None:
    """The client's reader accepts the Artifact: payload type, the deployment's id in its name, JSON as meta-data."""
    with calling() as caller:
        gadget = Gadget(caller, server.url)
        gadget.authorize()
        deployment_id = server.configure(server.devices()[0].id, {"timezone": "UTC"})
        content = caller.call("GET", gadget.link()).body
    header = ArtifactReader(io.BytesIO(content)).finish()
    assert ("mender-configure", {"timezone": "UTC"}) == (header.payload.type, header.payload.meta_data)
    assert f"configuration-{deployment_id}" == header.artifact_name


@pytest.mark.parametrize("cut", ["x-men-signature", "x-men-expire"])
def test_incomplete_link_is_400(server: DevServer, cut: str) -> None:
    """A link without its signature or expiry time is refused as malformed."""
    with calling() as caller:
        gadget = Gadget(caller, server.url)
        gadget.authorize()
        server.configure(server.devices()[0].id, {})
        link = re.sub(f"{cut}=[^&]*&?", "", gadget.link())
        assert 400 == caller.call("GET", link).status


def test_link_ends_after_a_quarter_of_an_hour(server: DevServer) -> None:
    """The link is valid for 15 minutes; the next poll returns a new one."""
    with calling() as caller:
        gadget = Gadget(caller, server.url)
        gadget.authorize()
        server.configure(server.devices()[0].id, {})
        link = gadget.link()
        server.clock_offset_seconds = 899.0 - 2
        assert 200 == caller.call("GET", link).status
        server.clock_offset_seconds = 900.0
        answers = [caller.call("GET", link), caller.call("GET", gadget.link())]
        assert [(403, "URL expired"), (200, "")] == [(one.status, _error(one)) for one in answers]


def _error(answer: Answer) -> str:
    return answer.error if answer.status >= 400 else ""


def test_configuration_has_strings(server: DevServer) -> None:
    """A value that isn't a string is refused, as is an unknown device."""
    with calling() as caller:
        Gadget(caller, server.url).authorize()
    wrong: dict[str, Any] = {"n": 1}
    with pytest.raises(ServerError, match="each value must be a string"):
        server.configure(server.devices()[0].id, wrong)
    with pytest.raises(ServerError, match="cannot find device"):
        server.configure("unknown", {})
