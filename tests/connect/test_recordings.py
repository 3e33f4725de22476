"""The device's side of the recorded sessions, replayed with a device in memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from connect.recordings import Replay, make_folder, sessions

SESSIONS = sessions()

BETTER = {
    "terminal-exit": "a shell that ends by itself ends its session at once, and not with an error",
    "terminal-dash-login": "a login shell of dash works",
    "check-update": "the daemon is woken, and no program runs that could fail",
    "send-inventory": "the daemon is woken, and no program runs that could fail",
    "exec-not-found": "the daemon is woken, and no program is missing",
    "idle-expiry": "the user is told why the shell ends",
    "expire-after": "the user is told why the shell ends, and it ends at once",
    "health-check": "a shell that nobody answers for ends, as since 2.3",
    "v3-terminal": "a shell that ends by itself ends its session at once, and the daemon is woken",
    "v3-health": "a session with a shell is not ended by the time limit of others, and its user is told",
    "download-1MiB": "an acknowledgement too many is no error",
    "download-exact-window": "an acknowledgement too many is no error",
    "transfer-raw": "a number of any width is taken, and what comes too late is no error",
    "put-raw": "a number of any width is taken",
    "upload-folder": "one error instead of two, and an empty file arrives",
    "limits-size": "the limits hold for the look at a file, and what comes too late is no error",
    "limits-chroot": "the limits hold for the look at a file, and its path is resolved; a folder is no file to replace",
    "limits-owner": "the limits hold for the look at a file",
    "limits-link": "the limits hold for the look at a file",
    "forward-tcp": "an error names its connection",
    "forward-refused": "an error names its connection, a failed one is stopped, and IPv6 works",
}
"""Sessions in which this device answers differently from the stock one, and why that is better."""

OTHER = {
    "control": "the words for bytes that are no message, and the end of a session that began before",
    "v3-token-signal": "the end of a session that began before",
    "token-signals": "the end of a session that began before",
    "download-errors": "the size of a directory and of /proc/uptime",
    "stat": "the size of a directory, and the words for a relative path",
    "no-permission": "the recorded client wasn't root",
    "forward-udp": "what the recorded remote side said",
    "session-limit-8MiB": "recorded in part",
    "input-large": "the recorded connection broke",
    "forward-extra-ack": "the recorded client died, and its user's stop came to nobody",
    "token-revoked": "the shells of the recorded client were stopped over D-Bus",
    "decommissioned": "a terminal of an earlier session",
}
"""Sessions that depend on more than the messages sent, and on what."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of the recorded device."""
    folder = tmp_path / "data"
    folder.mkdir()
    make_folder(folder)
    return folder


@pytest.mark.skipif(os.geteuid() != 0, reason="the recorded files belong to several users")
@pytest.mark.parametrize("name", SESSIONS)
def test_recorded_session(name: str, folder: Path) -> None:
    """The device replies like the stock add-on, except for listed improvements and the sizes of chunks."""
    recorded, said = Replay(SESSIONS[name], folder).run()
    if name in BETTER or name in OTHER:
        assert recorded != said
    else:
        assert recorded == said
