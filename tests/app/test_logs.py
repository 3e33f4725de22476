"""The destinations and formats of log lines."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from mender_client.app.logs import kept_on_failure, of_device, reopen_log_files, set_up_logging
from mender_client.core.text import ROUTINE
from mender_client.errors import ConfigError
from mender_client.system.deploymentlog import DeploymentLogFile

logger = logging.getLogger("mender_client")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before = (logger.handlers, logger.propagate, logger.level, logging.raiseExceptions)
    yield
    for handler in logger.handlers:
        with contextlib.suppress(OSError):
            handler.close()
    logger.handlers, logger.propagate, logger.level, logging.raiseExceptions = before


def test_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines go to standard error with a UTC timestamp; characters that could forge further lines are replaced."""
    set_up_logging(level="info", file=None, is_syslog_wanted=False)
    logger.debug("a detail")
    logger.info("one\ntwo\x1b[31m")
    captured = capsys.readouterr()
    assert ("", 1) == (captured.out, len(captured.err.splitlines()))
    assert captured.err.endswith("Z INFO    one?two?[31m\n")


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A command in a log line, also in the deployment log, has the options of the process and names the device."""
    set_up_logging(level="info", file=None, is_syslog_wanted=False, command="mender-python-client --root d")
    log = DeploymentLogFile(tmp_path / "deployment.log", tmp_path / "none")
    log.begin("d1")
    logger.info("run '%s commit'", "mender-python-client")
    log.end()
    with of_device("pump"):
        logger.info("%s", "run 'mender-python-client commit'")
    here, on_gateway = capsys.readouterr().err.splitlines()[-2:]
    assert here.endswith("run 'mender-python-client --root d commit'")
    assert on_gateway.endswith("run 'mender-python-client --root d --device pump commit'")
    assert "run 'mender-python-client --root d commit'" == [message.message for message in log.messages("d1")][-1]


def test_journal(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """If standard error is connected to the journal, lines have the journal's priority prefix and no timestamp."""
    with open("/dev/stderr", "w") as stream:
        state = Path("/proc/self/fd/2").stat()
        monkeypatch.setenv("JOURNAL_STREAM", f"{state.st_dev}:{state.st_ino}")
        monkeypatch.setattr("sys.stderr", stream)
        set_up_logging(level="debug", file=None, is_syslog_wanted=True)
        logger.warning("one")
        logger.error("two")
        assert [] == [one for one in logger.handlers if "Syslog" in type(one).__name__]
    assert "<4>one\n<3>two\n" == capfd.readouterr().err


def test_file(tmp_path: Path) -> None:
    """With a log file, lines are written only to it."""
    set_up_logging(level="notice", file=str(tmp_path / "log"), is_syslog_wanted=False)
    logger.info("gr\u00fcn \ud800")
    assert (tmp_path / "log").read_text("utf-8").endswith("INFO    gr\u00fcn ?\n")


def test_file_that_cannot_be_opened(tmp_path: Path) -> None:
    """A log file that can't be opened is a configuration error."""
    with pytest.raises(ConfigError, match=r"cannot open the log file .*: Is a directory"):
        set_up_logging(level="info", file=str(tmp_path), is_syslog_wanted=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's link")
def test_planted_link(tmp_path: Path) -> None:
    """A symbolic link created by another user is never followed; the operator's own links are."""
    victim, link = tmp_path / "victim", tmp_path / "log"
    link.symlink_to(victim)
    set_up_logging(level="info", file=str(link), is_syslog_wanted=False)
    logger.info("one")
    assert victim.read_text().endswith("one\n")
    os.chown(link, 65534, 65534, follow_symlinks=False)
    reopen_log_files()
    logger.info("two")  # still written to the open file, after the error
    assert ["one", "by another user", "two"] == [
        words for words in ("one", "by another user", "two") if words in victim.read_text()
    ]
    with pytest.raises(ConfigError, match="it is a symbolic link made by another user"):
        set_up_logging(level="info", file=str(link), is_syslog_wanted=False)


def test_full_disk_behind_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    """If the log can't be written, only its lines are lost."""
    set_up_logging(level="info", file="/dev/full", is_syslog_wanted=False)
    logger.info("lost")
    assert "" == capsys.readouterr().err


@contextlib.contextmanager
def recording(directory: Path) -> Iterator[None]:
    """Record the log of a deployment."""
    log = DeploymentLogFile(directory / "deployment.log", directory / "sub-updater.log")
    log.begin("dep-1")
    try:
        yield
    finally:
        log.end()


def test_deployment(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A line about a deployment names it exactly once; a routine line doesn't."""
    set_up_logging(level="info", file=None, is_syslog_wanted=False)
    with recording(tmp_path):
        logger.info("one")
        logger.info("deployment dep-1 failed")
        logger.info("download: %d %%", 5, extra=ROUTINE)
    first, second, third = capsys.readouterr().err.splitlines()
    assert first.endswith("INFO    deployment dep-1: one")
    assert second.endswith("INFO    deployment dep-1 failed")
    assert third.endswith("INFO    download: 5 %")


def test_set_up_anew_while_recording(tmp_path: Path) -> None:
    """If a gateway reloads its settings during a deployment, the deployment's log stays complete."""
    with recording(tmp_path):
        set_up_logging(level="info", file=str(tmp_path / "log"), is_syslog_wanted=False)
        logger.info("after that")
    assert "after that" in (tmp_path / "deployment.log").read_text()


def test_json(tmp_path: Path) -> None:
    """JSON lines contain time, level, message and deployment, with any characters in the message."""
    set_up_logging(level="info", file=str(tmp_path / "log"), is_syslog_wanted=False, is_json=True)
    logger.warning("a\nb \ud800")
    with recording(tmp_path):
        logger.info("two")
    first, second = (json.loads(line) for line in (tmp_path / "log").read_text("ascii").splitlines())
    at = datetime.fromisoformat(first.pop("time").replace("Z", "+00:00"))
    assert abs(datetime.now(timezone.utc) - at) < timedelta(hours=1)
    assert {"level": "warning", "message": "a\nb \ud800"} == first
    assert ("two", "dep-1") == (second["message"], second["deployment_id"])


def test_moved_log_file(tmp_path: Path) -> None:
    """A log file that was moved is reopened; if that fails, the open file is kept, and the error is logged to it."""
    directory = tmp_path / "log"
    directory.mkdir()
    set_up_logging(level="info", file=str(directory / "log"), is_syslog_wanted=False)
    (directory / "log").rename(directory / "old")
    reopen_log_files()
    logger.info("one")
    assert "one" in (directory / "log").read_text()
    directory.rename(tmp_path / "gone")
    reopen_log_files()
    assert "/log: No such file" in (tmp_path / "gone" / "log").read_text()


def test_kept_on_failure(tmp_path: Path) -> None:
    """If an operation fails after setting up logging, the previous logging is restored."""
    set_up_logging(level="info", file=str(tmp_path / "old"), is_syslog_wanted=False)

    @kept_on_failure()
    def fail() -> None:
        set_up_logging(level="error", file=str(tmp_path / "new"), is_syslog_wanted=False)
        raise ConfigError(["a problem"])

    with pytest.raises(ConfigError):
        fail()
    logger.info("one")
    assert "one" in (tmp_path / "old").read_text()
    with kept_on_failure():
        set_up_logging(level="info", file=str(tmp_path / "new"), is_syslog_wanted=False)
    logger.info("two")
    assert "two" in (tmp_path / "new").read_text()
