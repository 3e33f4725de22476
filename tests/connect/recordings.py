"""Recorded sessions between the real server and the stock add-on, and their replay to a device in memory."""

from __future__ import annotations

import base64
import difflib
import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

from connect.world import World
from mender_client.core.wire.deviceconnect import Message, decode
from mender_client.core.wire.msgpack import Extension, pack, unpack

RECORDINGS = Path(__file__).parents[1] / "contract" / "deviceconnect.jsonl"
LISTED = Path(__file__).parent / "recorded_differences.txt"
FOLDER = "/mnt/data"
USER = "9c8d53db-7e5f-4f04-99e6-4bc99573c282"
DIRECTORY = 1 << 31
"""The bit of a directory in a mode."""


def sessions() -> dict[str, list[dict[str, Any]]]:
    """The lines of each session, in order."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    conf: dict[str, Any] = {"Sessions": {"MaxPerUser": 4}}  # the first client's, in effect until another one starts
    for line in RECORDINGS.read_text("utf-8").splitlines():
        entry = json.loads(line)
        conf = entry.get("conf", conf)
        found[entry["s"]].append({"conf": conf, **entry})
    return dict(found)


def listed_differences() -> dict[str, list[str]]:
    """The listed differences of each session. In the list, "#" is before a reason for differences."""
    found: dict[str, list[str]] = defaultdict(list)
    name = ""
    for line in LISTED.read_text("utf-8").splitlines():
        if line.startswith(("- ", "+ ")):
            found[name].append(line)
        elif not line.startswith("#"):
            name = line
    return dict(found)


def make_folder(folder: Path) -> None:
    """Create the files of the recorded device."""
    for name, content in (
        ("small.txt", b"hello\n"),
        ("empty", b""),
        ("exact.bin", bytes(81920)),
        ("mib.bin", bytes(1 << 20)),
        ("f100k", bytes(100000)),
        ("hostname", b"qq\n"),
        ("nobody.txt", b"nobody\n"),
        ("secret", b"secret\n"),
        ("suid", b"x"),
        ("name with ä blank", b"umlaut\n"),
    ):
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o644)
    for name, mode in (("dir", 0o755), ("dir/sub", 0o1777), ("pub", 0o777), ("locked", 0o700)):
        (folder / name).mkdir()
        (folder / name).chmod(mode)
    (folder / "suid").chmod(0o4755)
    (folder / "hostname").chmod(0o755)
    (folder / "dir/given.name").write_bytes(b"in folder")
    os.mkfifo(folder / "fifo", 0o644)
    (folder / "link").symlink_to("small.txt")
    (folder / "dangling").symlink_to("nowhere")
    os.chown(folder / "nobody.txt", 65534, 65534)


class Replay:
    """Plays the server's side of a session to a device in memory.

    Args:
        lines: the lines of the session.
        folder: the directory of the files.
    """

    def __init__(self, lines: list[dict[str, Any]], folder: Path) -> None:
        self._lines = lines
        self._places = {  # those of the recorded device, and ours; the content of the file in /proc must be constant
            "/var/tmp/f100k": f"{folder}/f100k",
            "/etc/hostname": f"{folder}/hostname",
            "/proc/uptime": "/proc/sys/kernel/ostype",
            FOLDER: str(folder),
        }
        self.world = World(**self._moved(lines[-1]["conf"]))

    def differences(self) -> list[str]:
        """Return the recorded messages that this device doesn't send ("- …"), and those that it sends instead ("+ …").

        Each has the beginning of its session's id.
        """
        found: list[str] = []
        for sid, (recorded, said) in self._run().items():
            lines = list(difflib.unified_diff(texts(recorded), texts(said), n=0, lineterm=""))[2:]  # without the header
            found += (f"{line[0]} {sid[:4]} {line[1:]}" for line in lines if line[0] != "@")
        return found

    def _run(self) -> dict[str, tuple[list[Any], list[Any]]]:
        """Return the recorded messages and those of the device, by session."""
        recorded, said = defaultdict(list), defaultdict(list)
        at = 0.0
        for line in self._lines:
            self.world.timers.advance(max(line["t"] - at, 0.0))
            at = max(line["t"], at)
            if line.get("dir") == "s>d":
                self.world.receive(self._moved_message(self._message(line)))
                self._remote()
            elif line.get("dir") == "d>s":
                recorded[line.get("sid", "")].append(shown_line(line))
        for message in self.world.taken():
            said[message.sid].append(self._shown(message))
        return {sid: (merged(recorded[sid]), merged(said[sid])) for sid in {**recorded, **said} if sid}

    def _message(self, line: dict[str, Any]) -> Message:
        if "raw" in line:
            return decode(base64.b64decode(line["raw"]))
        return Message(line["proto"], line["typ"], line.get("sid", ""), line.get("props", {}), bytes(line["body_len"]))

    def _moved_message(self, message: Message) -> Message:
        if message.proto != 2 or not message.body or message.typ == "file_chunk":
            return message
        try:
            body = unpack(message.body)
        except ValueError:
            return message
        return Message(message.proto, message.typ, message.sid, message.props, pack(self._moved(body)))

    def _moved(self, value: Any) -> Any:
        text = json.dumps(value)
        for theirs, ours in self._places.items():
            text = text.replace(theirs, ours)
        return json.loads(text)

    def _shown(self, message: Message) -> Any:
        text = json.dumps(shown(message))
        for theirs, ours in self._places.items():
            text = text.replace(ours, theirs)
        return json.loads(text)

    def _remote(self) -> None:
        """Act as the remote sides of the recorded port forwards."""
        links = self.world.links
        for (host, port, is_datagram), link in zip(links.opened, links.links, strict=True):
            if not getattr(link, "is_told", False):
                link.is_told = True  # type: ignore[attr-defined]  # an attribute that this module adds
                if host.startswith("no-such"):
                    link.user.failed("dial tcp: lookup no-such-host.invalid on 192.0.2.53:53: no such host")
                elif port == 18599 and not is_datagram:
                    link.user.failed("dial tcp 127.0.0.1:18599: connect: connection refused")
                else:
                    link.user.connected()
            while link.sent:
                data = link.sent.pop(0)
                if port == 18592:
                    link.say(None)
                elif data == b"bye\n":
                    link.say(b"closing\n", None)
                elif data.startswith(b"big "):
                    count = int(data.split()[1])
                    link.say(*(bytes(min(4096, count - start)) for start in range(0, count, 4096)))
                else:
                    link.say((b"udp:" if is_datagram else b"echo:") + data)


def shown(message: Message) -> list[Any]:
    """The form in which messages are compared."""
    body: Any = message.body
    if body:
        try:
            value = unpack(body) if message.proto in (2, 0xFFFF, 3) else None
        except ValueError:
            value = None
        body = plain(value) if isinstance(value, dict) else body
    if isinstance(body, bytes):
        body = len(body) if len(body) > 300 else body.decode("latin-1")
    return [message.proto, message.typ, dict(message.props), body]


def shown_line(line: dict[str, Any]) -> list[Any]:
    """A recorded message in that form."""
    body = line.get("body_msgpack", line.get("body", line.get("body_len")))
    if "body_b64" in line:
        body = base64.b64decode(line["body_b64"]).decode("latin-1")
    elif isinstance(body, str):
        body = body.encode().decode("latin-1")
    return [line["proto"], line["typ"], line.get("props", {}), plain(body) if isinstance(body, dict) else body]


def merged(messages: list[list[Any]]) -> list[Any]:
    """Messages without what depends only on speed and size: pings, and the numbers of chunks and acknowledgements."""
    kept: list[Any] = []
    for proto, typ, props, body in messages:
        if typ == "ping":
            continue
        if proto == 2 and typ == "file_chunk" and isinstance(body, str):
            body = len(body)
        if typ in ("file_chunk", "ack") and kept and kept[-1][:2] == [proto, typ]:
            total = (kept[-1][3] or 0) + (body or 0)
            kept[-1] = [proto, typ, props, total]
        else:
            kept.append([proto, typ, props, body])
    return kept


def texts(messages: list[Any]) -> list[str]:
    """Messages as lines."""
    return [json.dumps(one, ensure_ascii=False, sort_keys=True).replace(USER, "USER") for one in messages]


def plain(body: dict[str, Any]) -> dict[str, Any]:
    """A body without the values that differ each time."""
    varying = ["modtime", "code"]
    if int(body.get("mode") or 0) & DIRECTORY:
        varying.append("size")  # depends on the file system
    kept = {name: value for name, value in body.items() if name not in varying}
    if isinstance(kept.get("protocols"), list):
        kept["protocols"] = sorted(kept["protocols"])
    return {name: None if isinstance(value, Extension) else value for name, value in kept.items()}
