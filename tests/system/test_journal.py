"""The state file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mender_client.core.machine import Event
from mender_client.core.model import Deployment, Link, NextForm, Provides, Status
from mender_client.core.record import Record
from mender_client.errors import StorageError
from mender_client.system.journal import JsonJournal
from mender_client.system.snapshot import damaged_files

from .tmpfs import empty, fill, small_disk

DEPLOYMENT = Deployment("dep-1", "release-2", ("board",), Link("https://storage.example/a"))
FULL = (
    Record()
    .begun(DEPLOYMENT, Provides("board", "release-1", {"a": "b"}), NextForm.V1_POST, now="2026-11-23T10:00:00+00:00")
    .concluded("dep-0", Event.FAILURE, now="2026-11-23T09:00:00+00:00")
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the state file."""
    return tmp_path / "journal.json"


def test_round_trip(path: Path) -> None:
    """A record that one journal saves is loaded unchanged by another one."""
    JsonJournal(path).update(lambda _: FULL)
    assert JsonJournal(path).load() == FULL


def test_private(path: Path) -> None:
    """Only its owner can read and write the state file."""
    JsonJournal(path).update(lambda _: FULL)
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_change_no_write(path: Path) -> None:
    """If a change leaves the record as it is, nothing is written, which reduces flash wear."""
    JsonJournal(path).update(lambda _: FULL)
    before = path.stat().st_ino
    JsonJournal(path).update(lambda record: record)
    assert path.stat().st_ino == before


def test_change_that_raises(path: Path) -> None:
    """If a change raises an exception, the record is unchanged, and the lock is released for the next change."""
    journal = JsonJournal(path)
    journal.update(lambda _: FULL)

    def fail(_: Record) -> Record:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        journal.update(fail)
    assert journal.update(lambda record: record) == FULL


def test_truncated(path: Path, is_nightly: bool) -> None:
    """A state file that is truncated anywhere is set aside unchanged, and the client continues with an empty record."""
    journal = JsonJournal(path)
    journal.update(lambda _: FULL)
    content = path.read_bytes()
    for length in range(0, len(content.rstrip()), 1 if is_nightly else 5):
        path.write_bytes(content[:length])
        assert Record() == journal.load()
        assert not path.exists()
        (aside,) = damaged_files(path)
        assert content[:length] == aside.read_bytes()
        aside.unlink()
    assert FULL == journal.update(lambda _: FULL)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[]", b"[" * 100_000, b"7"])
def test_foreign(path: Path, content: bytes) -> None:
    """A file that is not a JSON object is set aside."""
    path.write_bytes(content)
    journal = JsonJournal(path)
    assert journal.load() == Record()
    assert len(damaged_files(path)) == 1


def test_unknown_fields_survive(path: Path) -> None:
    """Fields that a newer version has added survive a change by this one."""
    path.write_text('{"schema": 1, "update": null, "outbox": [], "outcomes": [], "future": {"a": [1]}}')
    JsonJournal(path).update(lambda record: record.telling("dep-1", Status.DOWNLOADING))
    assert JsonJournal(path).load().unknown == {"future": {"a": [1]}}


def test_changes_of_two_processes(path: Path) -> None:
    """No change is lost if several processes change the record at the same time."""
    program = (
        "import sys; from pathlib import Path\n"
        "from mender_client.core.model import Status\n"
        "from mender_client.system.journal import JsonJournal\n"
        "for i in range(20):\n"
        "    JsonJournal(Path(sys.argv[1])).update(lambda r: r.telling(f'{sys.argv[2]}-{i}', Status.DOWNLOADING))\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, str(path), name]) for name in "abc"]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len(JsonJournal(path).load().outbox) == 60


def test_one_sender(path: Path) -> None:
    """Only one process at a time may send the pending reports; another one gets a BusyError, and doesn't wait."""
    program = (
        "import pathlib, sys\n"
        "from mender_client.errors import BusyError\n"
        "from mender_client.system.journal import JsonJournal\n"
        "try:\n"
        "    with JsonJournal(pathlib.Path(sys.argv[1])).sending(): print('sends')\n"
        "except BusyError: print('busy')\n"
    )

    def other() -> str:
        return subprocess.check_output([sys.executable, "-c", program, path], text=True)

    with JsonJournal(path).sending():
        assert "busy\n" == other()
    assert "sends\n" == other()


def test_unwritable_directory(tmp_path: Path) -> None:
    """If the directory is missing, a change raises an error that names the file."""
    with pytest.raises(StorageError, match=r"cannot open .*journal\.json\.lock"):
        JsonJournal(tmp_path / "missing" / "journal.json").update(lambda _: FULL)


def test_full_disk(tmp_path: Path) -> None:
    """If the disk is full, a change raises an error that names the file, and the record is unchanged."""
    with small_disk(tmp_path / "disk") as disk:
        journal = JsonJournal(disk / "journal.json")
        journal.update(lambda _: FULL)
        fill(disk)
        with pytest.raises(StorageError, match=r"cannot write .*journal\.json: No space left on device"):
            journal.update(lambda record: record.telling("dep-1", Status.DOWNLOADING))
        assert [FULL, FULL] == [one.load() for one in (journal, JsonJournal(disk / "journal.json"))]
        empty(disk)
        journal.update(lambda record: record.telling("dep-1", Status.DOWNLOADING))
        assert len(FULL.outbox) + 1 == len(JsonJournal(disk / "journal.json").load().outbox)


def test_planted_link(tmp_path: Path) -> None:
    """A state file that is a symbolic link is not followed, and the error says that it must not be one."""
    (tmp_path / "victim").write_text("{}")
    (tmp_path / "journal.json").symlink_to(tmp_path / "victim")
    with pytest.raises(StorageError, match=r"cannot read .*journal\.json: .*; it must not be a symbolic link"):
        JsonJournal(tmp_path / "journal.json").load()


def test_long_word_in_the_document(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A very long state in the state file doesn't lead to a long log line."""
    path.write_text('{"schema": 1, "outbox": [], "outcomes": [], "update": {"state": "' + "x" * 70_000 + '"}}')
    JsonJournal(path).load()
    (line,) = caplog.messages
    assert f"the update under way (state '{'x' * 38}…)" in line
    assert len(line) < len(str(path)) + 250


def test_read_once(path: Path) -> None:
    """The state file is opened again only after another process has replaced it."""
    program = (
        "import subprocess, sys\n"
        "from pathlib import Path\n"
        "from mender_client.system.journal import JsonJournal\n"
        "opened = []\n"
        "def note(event, args):\n"
        "    if event == 'open' and args[1] is None and str(args[0]).endswith('journal.json'):\n"
        "        opened.append(1)\n"
        "sys.addaudithook(note)\n"
        "journal = JsonJournal(Path(sys.argv[1]))\n"
        "first = [journal.load() for _ in range(100)]\n"
        "print(len(opened), len(first[0].outcomes))\n"
        "subprocess.run([sys.executable, '-c', sys.argv[2], sys.argv[1]], check=True)\n"
        "second = [journal.load() for _ in range(100)]\n"
        "print(len(opened), len(second[0].outcomes))\n"
    )
    another = (
        "import sys; from pathlib import Path\n"
        "from mender_client.core.machine import Event\n"
        "from mender_client.system.journal import JsonJournal\n"
        "JsonJournal(Path(sys.argv[1])).update(lambda r: r.concluded('dep-9', Event.SUCCESS, now=''))\n"
    )
    JsonJournal(path).update(lambda _: FULL)
    done = subprocess.run(
        [sys.executable, "-c", program, str(path), another], capture_output=True, text=True, check=True
    )
    assert ["1 1", "2 2"] == done.stdout.splitlines()


def test_journal_that_goes(path: Path) -> None:
    """Once the state file has been removed, the cached record is no longer used."""
    journal = JsonJournal(path)
    journal.update(lambda _: FULL)
    assert FULL == journal.load()
    path.unlink()
    assert Record() == journal.load()


def test_what_another_version_wrote_is_kept_and_said_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Entries that this version can't read stay in the file when the record is changed, and are logged once."""
    JsonJournal(path).update(lambda _: FULL)
    document = json.loads(path.read_text())
    newer = {**document, "schema": 2, "outbox": [{"kind": "song"}, *document["outbox"]]}
    path.write_text(json.dumps({**newer, "update": {**document["update"], "flow": "song"}}))
    journal = JsonJournal(path)
    assert (FULL.outbox, FULL.outcomes, None) == (journal.load().outbox, journal.load().outcomes, journal.load().update)
    journal.update(lambda record: record.telling("dep-1", Status.DOWNLOADING))
    journal.load()
    after = json.loads(path.read_text())
    assert [{"kind": "song"}, "song", 3] == [after["outbox"][0], after["update"]["flow"], len(after["outbox"][1:])]
    assert [] == damaged_files(path)
    assert 1 == caplog.text.count("another version of the client wrote")
    assert "the update under way (flow 'song', state 'downloading'), 1 pending report; it is kept" in caplog.text
