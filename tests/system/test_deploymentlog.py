"""The log of one deployment."""

from __future__ import annotations

import json
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from mender_client.core.wire.deployments import fit_log
from mender_client.system.deploymentlog import DeploymentLogFile, current_deployment

from .tmpfs import fill, small_disk


@pytest.fixture
def log(tmp_path: Path, logger: logging.Logger) -> Iterator[DeploymentLogFile]:
    """A log in an empty directory."""
    log = DeploymentLogFile(tmp_path / "deployment.log", tmp_path / "sub-updater.log", logger)
    yield log
    log.end()


@pytest.fixture
def logger() -> logging.Logger:
    """The logger that is recorded."""
    logger = logging.getLogger("a test of the deployment log")
    logger.setLevel(logging.DEBUG)
    return logger


def texts(log: DeploymentLogFile, deployment_id: str = "d1") -> list[str]:
    """The recorded messages."""
    return [message.message for message in log.messages(deployment_id)]


def test_recording(log: DeploymentLogFile, logger: logging.Logger, tmp_path: Path) -> None:
    """During a deployment, lines of level info and above are recorded as JSON, in a private file."""
    logger.info("too early")
    log.begin("d1")
    logger.debug("a detail")
    logger.warning("a %s\nin two lines", "warning")
    log.end()
    logger.info("too late")
    assert ["deployment d1 begins", "a warning\nin two lines"] == texts(log)
    assert 0o600 == stat.S_IMODE((tmp_path / "deployment.log").stat().st_mode)
    for line in (tmp_path / "deployment.log").read_text().splitlines():
        assert {"timestamp", "level", "message"} <= set(json.loads(line))
    levels = [(message.level, message.timestamp.tzinfo) for message in log.messages("d1")]
    assert [("info", timezone.utc), ("warning", timezone.utc)] == levels


def test_going_on(log: DeploymentLogFile, logger: logging.Logger) -> None:
    """After a restart, the log of the same deployment is continued; another deployment begins a new one."""
    log.begin("d1")
    logger.info("one")
    log.begin("d1")
    logger.info("two")
    assert ["deployment d1 begins", "one", "two"] == texts(log)
    log.begin("d2")
    assert (["deployment d2 begins"], []) == (texts(log, "d2"), texts(log, "d1"))


def test_new_deployment_forgets_the_old_sub_updater(log: DeploymentLogFile, tmp_path: Path) -> None:
    """A new deployment removes the output of an earlier sub-updater."""
    (tmp_path / "sub-updater.log").write_text("old")
    log.begin("d1")
    assert not (tmp_path / "sub-updater.log").exists()


def test_sub_updater_is_merged_in(log: DeploymentLogFile, tmp_path: Path) -> None:
    """The output of the sub-updater follows, each line as a message that the server accepts."""
    log.begin("d1")
    (tmp_path / "sub-updater.log").write_bytes(b"writing\r\n\n  \n\xff\xfe broken\nlast, no line end")
    messages = list(log.messages("d1"))
    assert ["deployment d1 begins", "writing", "\ufffd\ufffd broken", "last, no line end"] == [
        message.message for message in messages
    ]
    assert tuple(messages) == fit_log(messages)
    assert [message.timestamp for message in messages] == sorted(message.timestamp for message in messages)


BAD_LINES = [
    b"",
    b"no JSON",
    b'{"timestamp":"2026-01-01T00:00:00Z","level":"info","mess',
    b"null",
    b"[]",
    b"5",
    b"{}",
    b'{"timestamp":5,"level":"info","message":"x"}',
    b'{"timestamp":"yesterday","level":"info","message":"x"}',
    b'{"timestamp":"2026-01-01T00:00:00","level":"info","message":"no zone"}',
    b'{"timestamp":"0001-01-01T00:00:00+14:00","level":"info","message":"before time"}',
    b'{"timestamp":"2026-01-01T00:00:00Z","level":5,"message":"x"}',
    b'{"timestamp":"2026-01-01T00:00:00Z","level":"info","message":null}',
    b"[" * 100_000,
    b"\xff\xfe",
    b"\0" * 100,
]


@pytest.mark.parametrize("line", BAD_LINES, ids=range(len(BAD_LINES)))
def test_bad_lines(log: DeploymentLogFile, logger: logging.Logger, tmp_path: Path, line: bytes) -> None:
    """A line that was damaged by a power cut or another program is left out, and the others are kept."""
    log.begin("d1")
    with (tmp_path / "deployment.log").open("ab") as file:
        file.write(line + b"\n")
    logger.info("after")
    messages = list(log.messages("d1"))
    assert ["deployment d1 begins", "after"] == [message.message for message in messages]
    assert all(message.timestamp.astimezone(timezone.utc) for message in messages)


@pytest.mark.parametrize("line", BAD_LINES, ids=range(len(BAD_LINES)))
def test_bad_first_line(log: DeploymentLogFile, tmp_path: Path, line: bytes) -> None:
    """A log whose first line is damaged is replaced."""
    (tmp_path / "deployment.log").write_bytes(line)
    assert [] == texts(log)
    log.begin("d1")
    assert ["deployment d1 begins"] == texts(log)


def test_torn_line(log: DeploymentLogFile, logger: logging.Logger, tmp_path: Path) -> None:
    """If a power cut truncates a line, only that line is lost: after the restart, the log continues on a new line."""
    log.begin("d1")
    with (tmp_path / "deployment.log").open("ab") as file:
        file.write(b'{"timestamp":"2026-01')
    log.begin("d1")
    logger.info("after the restart")
    assert ["deployment d1 begins", "after the restart"] == texts(log)


def test_what_report_says_stands_once(log: DeploymentLogFile, logger: logging.Logger, tmp_path: Path) -> None:
    """The reason for a failure is recorded, and the same line in the sub-updater's output is left out.

    Another line of the client in that output has its level, and no second timestamp. It follows as in that output.
    """
    log.begin("d1")
    logger.error("the sub-updater reports failure: no room on B")
    log.end()
    output = (
        "2026-11-23T10:00:00Z ERROR   deployment d1: the sub-updater reports failure: no room on B\n"
        "2026-11-23T10:00:00Z WARNING another line of the client\n"
        "it said: no room on B\n"
    )
    (tmp_path / "sub-updater.log").write_text(output)
    begins, *rest = texts(log)
    reported = "the sub-updater reports failure: no room on B"
    assert [reported, "another line of the client", "it said: no room on B"] == rest
    assert "warning" == [message.level for message in log.messages("d1")][2]
    assert "deployment d1 begins" == begins


def test_the_cause_comes_first(log: DeploymentLogFile, logger: logging.Logger, tmp_path: Path) -> None:
    """The line that reports the failure follows the sub-updater's output, and timestamps never decrease."""
    log.begin("d1")
    logger.info("started")
    logger.warning("deployment d1 failed: no report")
    log.end()
    (tmp_path / "sub-updater.log").write_text("no room on B\n")
    assert ["deployment d1 begins", "started", "no room on B", "deployment d1 failed: no report"] == texts(log)
    times = [message.timestamp for message in log.messages("d1")]
    assert sorted(times) == times


def recorded(text: str, moment: str, level: str = "info") -> str:
    """A line of the log as it is on disk."""
    return json.dumps({"timestamp": moment, "level": level, "message": text, "deployment_id": "d1"}) + "\n"


def written(log: DeploymentLogFile) -> list[str]:
    """The recorded messages with their times, to the second."""
    return [f"{message.timestamp:%H:%M:%S} {message.message}" for message in log.messages("d1")]


def test_times_of_the_sub_updater(log: DeploymentLogFile, tmp_path: Path) -> None:
    """The sub-updater's output is ordered by time among the client's lines.

    A line without a time has that of the next line in that output that has one, and the last ones have the time of the
    last change of the file.
    """
    (tmp_path / "deployment.log").write_text(
        recorded("installation started", "2026-03-01T10:00:00.500+00:00")
        + recorded("the client was restarted", "2026-03-01T10:02:00.000+00:00")
        + recorded("deployment d1: the sub-updater reports failure", "2026-03-01T10:05:00.300+00:00", "error")
    )
    output = tmp_path / "sub-updater.log"
    output.write_text(
        "begins\n"
        "2026-03-01T10:01:00Z INFO    the gate is closed\n"
        "no room on B\n"
        "2026-03-01T10:05:00Z ERROR   deployment d1: the sub-updater reports failure\n"
        "2026-03-01T10:05:00Z INFO    deployment d1: reported status failure\n"
        "2026-99-01T10:05:00Z INFO    no time\n"
        "bye\n"
    )
    os.utime(output, (datetime(2026, 3, 1, 10, 6, tzinfo=timezone.utc).timestamp(),) * 2)
    assert [
        "10:00:00 installation started",
        "10:01:00 begins",
        "10:01:00 the gate is closed",
        "10:02:00 the client was restarted",
        "10:05:00 no room on B",
        "10:05:00 deployment d1: the sub-updater reports failure",
        "10:05:00 deployment d1: reported status failure",
        "10:06:00 2026-99-01T10:05:00Z INFO    no time",
        "10:06:00 bye",
    ] == written(log)


def test_output_without_times(log: DeploymentLogFile, tmp_path: Path) -> None:
    """If no line of the sub-updater's output has a time, the output precedes what the client logged after its end."""
    (tmp_path / "deployment.log").write_text(
        recorded("installation started", "2026-03-01T10:00:00.500+00:00")
        + recorded("deployment d1 failed: no report", "2026-03-01T10:05:00.300+00:00", "warning")
    )
    output = tmp_path / "sub-updater.log"
    output.write_text("begins\nno room on B\n")
    os.utime(output, (datetime(2026, 3, 1, 10, 4, tzinfo=timezone.utc).timestamp(),) * 2)
    assert [
        "10:00:00 installation started",
        "10:04:00 begins",
        "10:04:00 no room on B",
        "10:05:00 deployment d1 failed: no report",
    ] == written(log)


def test_zones(log: DeploymentLogFile, tmp_path: Path) -> None:
    """A timestamp with a UTC offset is converted to UTC."""
    log.begin("d1")
    with (tmp_path / "deployment.log").open("ab") as file:
        file.write(
            b'{"timestamp":"2026-01-01T01:00:00.5+01:00","level":"info","message":"x"}\n'.replace(b".5", b".500")
        )
    *_, last = log.messages("d1")
    assert datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=timezone.utc) == last.timestamp


def test_tail(log: DeploymentLogFile, tmp_path: Path) -> None:
    """Only the end of a very long output of the sub-updater is read."""
    log.begin("d1")
    (tmp_path / "sub-updater.log").write_bytes((b"x" * 999 + b"\n") * 3000 + b"the end\n")
    assert "the end" == texts(log)[-1]
    assert 2000 < len(texts(log)) < 2200


@pytest.mark.parametrize("plant", [Path.symlink_to, Path.hardlink_to])
def test_planted_link(log: DeploymentLogFile, tmp_path: Path, plant: Callable[[Path, Path], None]) -> None:
    """If a link to another file was planted in place of the log, that file is not changed."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    plant(tmp_path / "deployment.log", victim)
    log.begin("d1")
    assert ("mine", ["deployment d1 begins"]) == (victim.read_text(), texts(log))


def test_link_planted_later(
    log: DeploymentLogFile, logger: logging.Logger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A planted symbolic link ends the recording with a warning, and its target is never created."""
    log.begin("d1")
    (tmp_path / "deployment.log").unlink()
    (tmp_path / "deployment.log").symlink_to(tmp_path / "victim")
    logger.info("one")
    assert "the rest of this deployment is not recorded: cannot write" in caplog.text
    assert "it must not be a symbolic link [STO14]" in caplog.text
    assert not (tmp_path / "victim").exists()


def test_planted_pipe(log: DeploymentLogFile, logger: logging.Logger, tmp_path: Path) -> None:
    """A named pipe in place of the log, without a reader, blocks neither writing nor reading."""
    os.mkfifo(tmp_path / "deployment.log")
    log.begin("d1")
    assert ["deployment d1 begins"] == texts(log)
    (tmp_path / "deployment.log").unlink()
    os.mkfifo(tmp_path / "deployment.log")
    logger.info("one")
    assert [] == texts(log)


def test_full_disk(tmp_path: Path, logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    """A full disk ends the recording, with a single warning and no exception."""
    with small_disk(tmp_path / "disk") as disk:
        log = DeploymentLogFile(disk / "deployment.log", disk / "sub-updater.log", logger)
        log.begin("d1")
        fill(disk)
        for _ in range(100):
            logger.info("x" * 1000)
        log.end()
    assert 1 == caplog.text.count("the rest of this deployment is not recorded")


def stamped(logger: logging.Logger, text: str, moment: str) -> None:
    """Log a line with this time as its time of creation."""
    record = logger.makeRecord(logger.name, logging.INFO, "here", 1, text, (), None)
    record.created = datetime.fromisoformat(moment).timestamp()
    logger.handle(record)


def test_clock_set_back(log: DeploymentLogFile, logger: logging.Logger, tmp_path: Path) -> None:
    """Timestamps stay in order if the clock is set back, even across a restart of the client."""
    log.begin("d1")
    stamped(logger, "ahead", "2050-01-01T00:00:00+00:00")
    stamped(logger, "back", "2030-01-01T00:00:00+00:00")
    log.end()
    again = DeploymentLogFile(tmp_path / "deployment.log", tmp_path / "sub-updater.log", logger)
    again.begin("d1")
    stamped(logger, "again", "2031-01-01T00:00:00+00:00")
    again.end()
    times = [message.timestamp for message in log.messages("d1")]
    assert sorted(times) == times
    assert ["ahead", "back", "again"] == texts(log)[1:]


def test_clock_that_is_not_set(log: DeploymentLogFile, logger: logging.Logger, tmp_path: Path) -> None:
    """A line that is written while the clock is implausible is marked."""
    (tmp_path / "deployment.log").write_text(
        '{"timestamp":"1970-01-01T00:00:05+00:00","level":"info","message":"begins","deployment_id":"d1"}\n'
    )
    log.begin("d1")
    stamped(logger, "early", "1970-01-01T00:00:10+00:00")
    stamped(logger, "later", "2050-01-01T00:00:00+00:00")
    assert ["begins", "[this device's clock is not set] early", "later"] == texts(log)


def test_a_report_while_the_clock_is_not_set(log: DeploymentLogFile, logger: logging.Logger, tmp_path: Path) -> None:
    """A line of ``report`` that is written while the clock is implausible is sent once, with the mark."""
    (tmp_path / "deployment.log").write_text(recorded("begins", "1970-01-01T00:00:05+00:00"))
    log.begin("d1")
    stamped(logger, "the sub-updater reports failure: no room on B", "1970-01-01T00:00:10+00:00")
    log.end()
    (tmp_path / "sub-updater.log").write_text(
        "1970-01-01T00:00:10Z ERROR   deployment d1: the sub-updater reports failure: no room on B\nbye\n"
    )
    marked = "[this device's clock is not set] the sub-updater reports failure: no room on B"
    assert ["begins", marked, "bye"] == texts(log)


LEFT_OUT = "here lines are left out: the log became larger than 1 MiB"


def test_bound_of_our_log(log: DeploymentLogFile, logger: logging.Logger, tmp_path: Path) -> None:
    """A log that becomes too large keeps its beginning and its end, and a line says that others are left out."""
    log.begin("d1")
    for number in range(60):
        logger.info("%d %s", number, "x" * 40_000)
        assert (tmp_path / "deployment.log").stat().st_size <= 1024 * 1024 + 50_000
    said = [text.split()[0] if text != LEFT_OUT else text for text in texts(log)]
    assert ["deployment", "0", LEFT_OUT] == said[:3]
    assert [str(number) for number in range(int(said[3]), 60)] == said[3:]
    log.begin("d1")
    assert said[-1] == texts(log)[-1].split()[0]


def test_bound_of_the_sub_updaters_log(log: DeploymentLogFile, tmp_path: Path) -> None:
    """The log of a running sub-updater is shortened in the same way, and the sub-updater continues to append to it."""
    path = tmp_path / "sub-updater.log"
    log.begin("d1")
    with path.open("ab", buffering=0) as sub_updater:
        sub_updater.write(b"first\n" + b"a line of it\n" * 200_000 + b"last\n")
        log.trim()
        sub_updater.write(b"and on\n")
    assert path.stat().st_size < 600_000
    lines = texts(log)
    assert (["first"], ["last", "and on"]) == (lines[1:2], lines[-2:])
    assert 1 == lines.count(LEFT_OUT)
    before = path.read_bytes()
    log.trim()
    assert before == path.read_bytes()


def test_bound_of_no_log(log: DeploymentLogFile, tmp_path: Path) -> None:
    """Shortening the sub-updater's log does nothing if there is none, and doesn't follow a planted link."""
    log.trim()
    (tmp_path / "victim").write_bytes(b"x\n" * 1024 * 1024)
    (tmp_path / "sub-updater.log").symlink_to(tmp_path / "victim")
    log.trim()
    assert 2 * 1024 * 1024 == (tmp_path / "victim").stat().st_size


def test_the_thread_that_records(log: DeploymentLogFile, logger: logging.Logger, tmp_path: Path) -> None:
    """Each thread's lines are in the log of the deployment that it works on, in no other, and in none after its end."""
    other = DeploymentLogFile(tmp_path / "other.log", tmp_path / "none", logger)

    def work_on_another() -> None:
        logger.info("of nobody")
        other.begin("d2")
        logger.info("of the other one")
        other.end()

    log.begin("d1")
    log.begin("d1")
    assert "d1" == current_deployment()
    thread = threading.Thread(target=work_on_another)
    thread.start()
    thread.join()
    logger.info("of this one")
    log.end()
    logger.info("too late")
    assert (["of this one"], "") == (texts(log)[1:], current_deployment())
    assert ["of the other one"] == texts(other, "d2")[1:]
